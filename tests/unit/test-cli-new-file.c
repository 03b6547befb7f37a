/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files that appear whole or not at all, where the file system has files without names and where
 * not. */
#include "cli-error.h"
#include "new-file.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef struct {
  char *directory, *path;
} Place;

static void
set_up (Place *place, gconstpointer data)
{
  place->directory = g_dir_make_tmp ("vmckpt-test-XXXXXX", NULL);
  g_assert_nonnull (place->directory);
  place->path = g_build_filename (place->directory, "core", NULL);
}

static guint
count_entries (const Place *place)
{
  g_autoptr (GDir) dir = g_dir_open (place->directory, 0, NULL);
  guint count = 0;

  g_assert_nonnull (dir);
  while (g_dir_read_name (dir) != NULL)
    count++;
  return count;
}

static void
tear_down (Place *place, gconstpointer data)
{
  g_unlink (place->path);
  g_assert_cmpint (g_rmdir (place->directory), ==, 0); /* nothing else was left */
  g_free (place->path);
  g_free (place->directory);
}

static NewFile *
begin (const Place *place, gboolean force)
{
  g_autoptr (GError) error = NULL;
  NewFile *file = new_file_begin (place->path, force, &error);

  g_assert_no_error (error);
  g_assert_true (new_file_write (file, "whole", 5, &error));
  g_assert_no_error (error);
  return file;
}

static void
assert_holds (const Place *place, const char *text)
{
  g_autofree char *contents = NULL;

  g_assert_true (g_file_get_contents (place->path, &contents, NULL, NULL));
  g_assert_cmpstr (contents, ==, text);
  g_assert_cmpuint (count_entries (place), ==, 1);
}

static void
test_appears_whole (Place *place, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (NewFile) file = begin (place, FALSE);
  struct stat facts;

  g_assert_cmpint (g_access (place->path, F_OK), ==, -1);
  g_assert_true (new_file_finish (file, &error));
  g_assert_no_error (error);
  assert_holds (place, "whole");
  g_assert_cmpint (stat (place->path, &facts), ==, 0);
  g_assert_cmpuint (facts.st_mode & 07777, ==, 0600);
}

/* A program that is killed unlinks nothing; what it wrote must have had no name. */
static void
test_has_no_name_before (Place *place, gconstpointer data)
{
  int fd = open (place->directory, O_TMPFILE | O_RDWR, 0600);

  if (fd < 0) {
    g_test_skip ("this file system has no files without names");
    return;
  }
  close (fd);
  g_autoptr (NewFile) file = begin (place, FALSE);
  g_assert_cmpuint (count_entries (place), ==, 0);
}

static void
test_unfinished_leaves_nothing (Place *place, gconstpointer data)
{
  new_file_free (begin (place, FALSE));
  g_assert_cmpuint (count_entries (place), ==, 0);
}

static void
test_existing_is_refused (Place *place, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (g_file_set_contents (place->path, "old", -1, NULL));
  g_assert_null (new_file_begin (place->path, FALSE, &error));
  g_assert_error (error, CLI_ERROR, CLI_ERROR_CONFLICT);
  assert_holds (place, "old");
}

static void
test_later_one_is_kept (Place *place, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  NewFile *file = begin (place, FALSE);

  g_assert_true (g_file_set_contents (place->path, "later", -1, NULL));
  g_assert_false (new_file_finish (file, &error));
  g_assert_error (error, CLI_ERROR, CLI_ERROR_CONFLICT);
  new_file_free (file);
  assert_holds (place, "later");
}

static void
test_force_replaces (Place *place, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (g_file_set_contents (place->path, "old", -1, NULL));
  g_autoptr (NewFile) file = begin (place, TRUE);
  g_autofree char *before = NULL;
  g_assert_true (g_file_get_contents (place->path, &before, NULL, NULL));
  g_assert_cmpstr (before, ==, "old");
  g_assert_true (new_file_finish (file, &error));
  g_assert_no_error (error);
  assert_holds (place, "whole");
}

static void
test_force_makes_one (Place *place, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (NewFile) file = begin (place, TRUE);

  g_assert_true (new_file_finish (file, &error));
  g_assert_no_error (error);
  assert_holds (place, "whole");
}

static void
test_only_files_are_replaced (Place *place, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (new_file_begin (place->directory, TRUE, &error));
  g_assert_error (error, CLI_ERROR, CLI_ERROR_USAGE);
}

static void
test_nowhere (Place *place, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *path = g_build_filename (place->directory, "none", "core", NULL);

  g_assert_null (new_file_begin (path, FALSE, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
}

/* Holes beyond 4 GiB, also at the end. */
static void
test_holes (Place *place, gconstpointer data)
{
  const guint64 hole = G_GUINT64_CONSTANT (5) << 30;
  g_autoptr (GError) error = NULL;
  g_autoptr (NewFile) file = begin (place, FALSE);
  struct stat facts;

  g_assert_true (new_file_skip (file, hole, &error));
  g_assert_true (new_file_write (file, "x", 1, &error));
  g_assert_true (new_file_skip (file, 100, &error));
  g_assert_true (new_file_finish (file, &error));
  g_assert_no_error (error);
  g_assert_cmpint (stat (place->path, &facts), ==, 0);
  g_assert_cmpuint (facts.st_size, ==, 5 + hole + 1 + 100);
  g_assert_cmpuint (facts.st_blocks, <, 1024);
}

/* A name that leaves no room for another in front and behind. */
static void
test_long_name (Place *place, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *name = g_strnfill (255, 'n');

  g_free (place->path);
  place->path = g_build_filename (place->directory, name, NULL);
  int fd = open (place->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  g_assert_cmpint (fd, >=, 0);
  close (fd);
  g_autoptr (NewFile) file = begin (place, TRUE);
  g_assert_true (new_file_finish (file, &error));
  g_assert_no_error (error);
  assert_holds (place, "whole");
}

/* From here on this process cannot open files without names, as on a file system without them. */
static void
forbid_nameless (void)
{
  struct sock_filter filter[] = {
    BPF_STMT (BPF_LD | BPF_W | BPF_ABS, offsetof (struct seccomp_data, nr)),
    BPF_JUMP (BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 3),
    BPF_STMT (BPF_LD | BPF_W | BPF_ABS, offsetof (struct seccomp_data, args[2])),
    BPF_JUMP (BPF_JMP | BPF_JSET | BPF_K, O_TMPFILE & ~O_DIRECTORY, 0, 1),
    BPF_STMT (BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EOPNOTSUPP),
    BPF_STMT (BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = { G_N_ELEMENTS (filter), filter };

  g_assert_cmpint (prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), ==, 0);
  g_assert_cmpint (prctl (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), ==, 0);
}

static void
test_without_nameless (void)
{
  if (!g_test_subprocess()) {
    g_test_trap_subprocess (NULL, 0, G_TEST_SUBPROCESS_INHERIT_STDERR);
    g_test_trap_assert_passed();
    return;
  }
  static void (*const tests[]) (Place *, gconstpointer) = {
    test_appears_whole,
    test_unfinished_leaves_nothing,
    test_existing_is_refused,
    test_later_one_is_kept,
    test_force_replaces,
    test_force_makes_one,
    test_nowhere,
    test_holes,
    test_long_name,
  };
  forbid_nameless();
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++) {
    Place place;
    set_up (&place, NULL);
    g_assert_cmpint (open (place.directory, O_TMPFILE | O_RDWR, 0600), ==, -1);
    tests[i](&place, NULL);
    tear_down (&place, NULL);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
#define ADD(name, function) g_test_add ("/new-file/" name, Place, NULL, set_up, function, tear_down)
  ADD ("appears-whole", test_appears_whole);
  ADD ("has-no-name-before", test_has_no_name_before);
  ADD ("unfinished", test_unfinished_leaves_nothing);
  ADD ("existing", test_existing_is_refused);
  ADD ("later", test_later_one_is_kept);
  ADD ("force-replaces", test_force_replaces);
  ADD ("force-makes", test_force_makes_one);
  ADD ("only-files", test_only_files_are_replaced);
  ADD ("nowhere", test_nowhere);
  ADD ("holes", test_holes);
  ADD ("long-name", test_long_name);
#undef ADD
  g_test_add_func ("/new-file/without-nameless", test_without_nameless);
  return g_test_run();
}
