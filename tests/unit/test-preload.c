/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the preloaded object notes, in a process that does to its "guest RAM" what QEMU does. */
#include "dirty-log.h"

#include <vmckpt/keeper/guest-fds.h>
#include <vmckpt/ram/guest-ram.h>
#include <vmckpt/util/fd.h>

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGES 64
#define BYTES (PAGES * DIRTY_LOG_PAGE_BYTES)
#define AT(page) ((off_t)(page)*DIRTY_LOG_PAGE_BYTES)

/* ---- In the child, which has what a QEMU inherits. Steps are named by its argument. ---- */

static guint8 *
map_ram (int flags)
{
  g_auto (AutoFd) fd = open ("/proc/self/fd/80", O_RDWR | O_CLOEXEC);
  guint8 *ram = mmap (NULL, BYTES, PROT_READ | PROT_WRITE, flags, fd, 0);

  g_assert_true (ram != MAP_FAILED);
  return ram;
}

static void
punch (int page, int count)
{
  g_auto (AutoFd) fd = open ("/proc/self/fd/80", O_RDWR | O_CLOEXEC);

  g_assert_cmpint (
      fallocate (fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, AT (page), AT (count)), ==, 0);
}

static void
do_discards (void)
{
  guint8 *ram = map_ram (MAP_SHARED);
  g_auto (AutoFd) other = memfd_create ("other", MFD_CLOEXEC);

  memset (ram, 7, BYTES);
  punch (3, 2);
  g_assert_cmpint (ram[AT (3)] + ram[AT (4)], ==, 0);
  g_assert_cmpint (madvise (ram + AT (10), AT (1), MADV_REMOVE), ==, 0);
  /* Neither leaves a mark: the contents of a shared file stay, and another file is not the RAM. */
  g_assert_cmpint (madvise (ram + AT (20), AT (1), MADV_DONTNEED), ==, 0);
  g_assert_cmpint (ram[AT (20)], ==, 7);
  g_assert_cmpint (ftruncate (other, BYTES), ==, 0);
  g_assert_cmpint (fallocate (other, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, AT (30), AT (1)),
                   ==, 0);
}

static void
do_transfers (void)
{
  guint8 *ram = map_ram (MAP_SHARED);
  g_auto (AutoFd) file = open ("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  guint8 elsewhere[100];
  const struct iovec vector[] = { { ram + AT (5) + 10, 100 },
                                  { elsewhere, sizeof elsewhere },
                                  { ram + AT (8), 2 * DIRTY_LOG_PAGE_BYTES } };

  g_assert_cmpint (pread (file, ram + AT (1), 1, 0), ==, 1);
  g_assert_cmpint (preadv (file, vector, G_N_ELEMENTS (vector), 0), ==, 200 + AT (2));
}

/* Writes of one that has a template stay its own, and so do its discards. */
static void
do_copy (void)
{
  guint8 *ram = map_ram (MAP_PRIVATE);

  g_assert_cmpint (ram[0], ==, 7);
  ram[0] = 8;
  punch (0, 1);
  g_assert_cmpint (madvise (ram, AT (1), MADV_DONTNEED), ==, 0);
  g_assert_cmpint (ram[0], ==, 7);
}

/* The object leaves nothing to programs that QEMU starts. */
static void
do_environment (void)
{
  g_assert_nonnull (g_getenv ("LD_PRELOAD"));
  g_assert_cmpint (fcntl (GUEST_FD_RAM, F_GETFD), ==, 0);
  map_ram (MAP_SHARED);
  g_assert_null (g_getenv ("LD_PRELOAD"));
  for (int fd = GUEST_FD_RAM; fd <= GUEST_FD_LOG; fd++)
    g_assert_cmpint (fcntl (fd, F_GETFD), ==, FD_CLOEXEC);
}

/* ---- In a child that inherits nothing but its environment, as from libvirt ---- */

/* Opens its RAM as QEMU does. @path is that of no file. */
static int
open_own (const char *path)
{
  int fd = open (path, O_RDWR | O_CLOEXEC);

  g_assert_cmpint (fd, >=, 0);
  g_assert_cmpint (ftruncate (fd, BYTES), ==, 0);
  return fd;
}

static void
assert_found (int shift)
{
  g_autoptr (GError) error = NULL;
  struct stat numbered, found;

  g_autoptr (GuestRam) ram = guest_ram_find (process_id_of (getpid()), "pc.ram", &error);
  g_assert_no_error (error);
  g_assert_cmpuint (guest_ram_bytes (ram), ==, BYTES);
  g_assert_cmpint (fstat (GUEST_FD_RAM + shift, &numbered), ==, 0);
  g_assert_cmpint (fstat (guest_ram_fd (ram), &found), ==, 0);
  g_assert_cmpuint (numbered.st_ino, ==, found.st_ino);
  g_assert_cmpint (ftruncate (guest_ram_fd (ram), 2 * BYTES), <, 0);
  g_assert_true (guest_ram_uffd_async (ram) >= 0 || guest_ram_untracked_reason (ram) != NULL);
  for (int fd = GUEST_FD_RAM; fd <= GUEST_FD_LOG; fd++)
    g_assert_cmpint (fcntl (fd + shift, F_GETFD), ==, FD_CLOEXEC);

  /* Marks go into that log. */
  g_autoptr (DirtyLog) log = dirty_log_open (guest_ram_log_fd (ram), BYTES, &error);
  g_assert_no_error (error);
  g_assert_cmpint (
      fallocate (GUEST_FD_RAM + shift, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, AT (2), AT (1)),
      ==, 0);
  g_assert_cmpuint (*dirty_log_words (dirty_log_header (log), DIRTY_LOG_DISCARDED), ==, 1 << 2);
}

static void
run_own (int shift)
{
  g_auto (AutoFd) fd = open_own ("/nowhere/1-g1/pc.ram");
  guint8 *ram = mmap (NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

  g_assert_true (ram != MAP_FAILED);
  ram[0] = 1;
  assert_found (shift);
  /* Once is enough. */
  g_assert_cmpint (open ("/nowhere/1-g1/pc.ram", O_RDWR | O_CLOEXEC), <, 0);
}

static void
do_own (void)
{
  run_own (0);
}

/* A number is somebody else's. */
static void
do_own_shifted (void)
{
  g_assert_cmpint (dup2 (STDERR_FILENO, GUEST_FD_UFFD_ASYNC), ==, GUEST_FD_UFFD_ASYNC);
  run_own (GUEST_FD_SHIFT);
}

/* All are: QEMU has what it was told to have. */
static void
do_own_not (void)
{
  g_autofree char *directory = g_dir_make_tmp (NULL, NULL);
  g_autofree char *path = g_build_filename (directory, "pc.ram", NULL);
  struct stat named, opened;

  for (int i = 0; i < GUEST_FD_SHIFTS; i++)
    g_assert_cmpint (dup2 (STDERR_FILENO, GUEST_FD_LOG + i * GUEST_FD_SHIFT), >=, 0);
  g_assert_true (g_file_set_contents (path, "", 0, NULL));
  g_auto (AutoFd) fd = open_own (path);
  g_assert_cmpint (fstat (fd, &opened), ==, 0);
  g_assert_cmpint (stat (path, &named), ==, 0);
  g_assert_cmpuint (named.st_ino, ==, opened.st_ino);
  unlink (path);
  rmdir (directory);
}

/* Neither another file, nor reading, is the RAM. */
static void
do_own_others (void)
{
  g_assert_cmpint (open ("/nowhere/pc.ram", O_RDONLY | O_CLOEXEC), <, 0);
  g_assert_cmpint (open ("/nowhere/other.ram", O_RDWR | O_CLOEXEC), <, 0);
  g_assert_cmpint (open ("/nowhere/pc.ram/x", O_RDWR | O_CLOEXEC), <, 0);
  g_assert_cmpint (fcntl (GUEST_FD_RAM, F_GETFD), <, 0);
  run_own (0);
}

static const struct {
  const char *name;
  void (*run) (void);
} steps[] = {
  { "discards", do_discards }, { "transfers", do_transfers },
  { "copy", do_copy },         { "environment", do_environment },
  { "own", do_own },           { "own-shifted", do_own_shifted },
  { "own-not", do_own_not },   { "own-others", do_own_others },
};

static int
run_step (const char *name)
{
  for (guint i = 0; i < G_N_ELEMENTS (steps); i++)
    if (g_str_equal (steps[i].name, name)) {
      steps[i].run();
      return 0;
    }
  return 1;
}

/* ---- In the test ---- */

/* Runs a step with @ram and @log as QEMU has them, or with none (-1) where libvirt starts it. */
static void
run_child (const char *step, int ram, int log)
{
  g_autoptr (GSubprocessLauncher) launcher = g_subprocess_launcher_new (G_SUBPROCESS_FLAGS_NONE);
  g_autoptr (GSubprocess) child = NULL;
  g_autoptr (GError) error = NULL;

  if (ram >= 0) {
    g_subprocess_launcher_take_fd (launcher, dup (ram), GUEST_FD_RAM);
    g_subprocess_launcher_take_fd (launcher, dup (log), GUEST_FD_LOG);
  } else {
    g_subprocess_launcher_setenv (launcher, "VMCKPT_RAM_FILE", "pc.ram", TRUE);
  }
  g_subprocess_launcher_setenv (launcher, "LD_PRELOAD", g_getenv ("VMCKPT_PRELOAD"), TRUE);
  g_subprocess_launcher_setenv (launcher, "ASAN_OPTIONS", "verify_asan_link_order=0", TRUE);
  g_subprocess_launcher_setenv (launcher, "STEP", step, TRUE);
  child = g_subprocess_launcher_spawn (launcher, &error, "/proc/self/exe", NULL);
  g_assert_no_error (error);
  g_subprocess_wait_check (child, NULL, &error);
  g_assert_no_error (error);
}

/* The pages that have a bit, as text: "3 4 10 ". */
static char *
marked (DirtyLog *log, enum dirty_log_bitmap which)
{
  GString *text = g_string_new (NULL);
  _Atomic guint64 *words = dirty_log_words (dirty_log_header (log), which);

  for (guint page = 0; page < PAGES; page++)
    if (words[page / 64] >> page % 64 & 1)
      g_string_append_printf (text, "%u ", page);
  return g_string_free (text, FALSE);
}

typedef struct {
  const char *step;
  const char *discarded, *transferred;
} Case;

static const Case cases[] = {
  { "discards", "3 4 10 ", "" },
  { "transfers", "", "1 5 8 9 " },
  { "copy", "", "" },
  { "environment", "", "" },
};

static void
test_step (gconstpointer data)
{
  const Case *expected = data;
  g_autoptr (GError) error = NULL;
  g_auto (AutoFd) ram = memfd_create ("ram", MFD_CLOEXEC);
  g_auto (AutoFd) fd = dirty_log_create (BYTES, &error);
  g_autoptr (DirtyLog) log = dirty_log_open (fd, BYTES, &error);
  guint8 sevens[BYTES];

  g_assert_no_error (error);
  memset (sevens, 7, sizeof sevens);
  g_assert_true (fd_write_full (ram, sevens, sizeof sevens, NULL));
  run_child (expected->step, ram, fd);

  g_autofree char *discarded = marked (log, DIRTY_LOG_DISCARDED);
  g_autofree char *transferred = marked (log, DIRTY_LOG_TRANSFERRED);
  g_assert_cmpstr (discarded, ==, expected->discarded);
  g_assert_cmpstr (transferred, ==, expected->transferred);
}

static void
test_own (gconstpointer step)
{
  run_child (step, -1, -1);
}

int
main (int argc, char **argv)
{
  const char *step = g_getenv ("STEP");

  if (step != NULL)
    return run_step (step);
  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree char *path = g_strconcat ("/preload/", cases[i].step, NULL);
    g_test_add_data_func (path, &cases[i], test_step);
  }
  g_test_add_data_func ("/preload/own", "own", test_own);
  g_test_add_data_func ("/preload/own-shifted", "own-shifted", test_own);
  g_test_add_data_func ("/preload/own-not", "own-not", test_own);
  g_test_add_data_func ("/preload/own-others", "own-others", test_own);
  return g_test_run();
}
