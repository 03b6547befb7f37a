/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tiny-guest.h"

#include <vmckpt/qmp/commands.h>

#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

#define WAIT_US (60 * G_USEC_PER_SEC)
#define DISK_BYTES (1024 * 1024)
#define RAM_BYTES (G_GUINT64_CONSTANT (128) << 20)

/* clang-format off */
static const guint8 code[] = {
  0xfa,                         /*       cli               */
  0x31, 0xc0,                   /*       xor  ax, ax       */
  0x8e, 0xd0,                   /*       mov  ss, ax       */
  0xbc, 0x00, 0x7c,             /*       mov  sp, 0x7c00   */
  0xbb, 0x00, 0x10,             /* loop: mov  bx, 0x1000   */
  0x8e, 0xc3,                   /* next: mov  es, bx       */
  0x26, 0xfe, 0x06, 0x00, 0x00, /*       inc  byte es:[0]  */
  0x81, 0xc3, 0x00, 0x01,       /*       add  bx, 0x100    */
  0x81, 0xfb, 0x00, 0x90,       /*       cmp  bx, 0x9000   */
  0x72, 0xef,                   /*       jb   next         */
  0xba, 0xfd, 0x03,             /*       mov  dx, 0x3fd    */
  0xec,                         /* wait: in   al, dx       */
  0xa8, 0x20,                   /*       test al, 0x20     */
  0x74, 0xfb,                   /*       jz   wait         */
  0xa8, 0x01,                   /*       test al, 1        */
  0x75, 0x07,                   /*       jnz  echo         */
  0xb0, 0x2e,                   /*       mov  al, '.'      */
  0xba, 0xf8, 0x03,             /*       mov  dx, 0x3f8    */
  0xeb, 0x04,                   /*       jmp  print        */
  0xba, 0xf8, 0x03,             /* echo: mov  dx, 0x3f8    */
  0xec,                         /*       in   al, dx       */
  0xee,                         /* print: out dx, al       */
  0xeb, 0xd2,                   /*       jmp  loop         */
};
/* clang-format on */

/* SeaBIOS does not boot from a disk of less than a cylinder. */
static void
write_disk (const char *path)
{
  g_autofree guint8 *disk = g_malloc0 (DISK_BYTES);

  memcpy (disk, code, sizeof code);
  disk[510] = 0x55;
  disk[511] = 0xaa;
  g_assert_true (g_file_set_contents (path, (const char *)disk, DISK_BYTES, NULL));
}

void
tiny_guest_init (TinyGuest *guest)
{
  g_autoptr (GError) error = NULL;

  guest->parent = g_dir_make_tmp ("vmckpt-XXXXXX", &error);
  g_assert_no_error (error);
  guest->directory = g_build_filename (guest->parent, "guest", NULL);
  guest->disk = g_build_filename (guest->parent, "disk", NULL);
  write_disk (guest->disk);

  guest->spec = guest_spec_new ("tiny");
  guest->spec->ram_bytes = RAM_BYTES;
  guest->spec->cpus = 1;
  guest->spec->memory = MEMORY_PRIVATE;
  g_free (guest->spec->accel);
  guest->spec->accel = g_strdup ("tcg");
  g_autofree char *disk = g_strconcat (guest->disk, ",readonly", NULL);
  g_ptr_array_add (guest->spec->disks, guest_disk_parse (disk, &error));
  g_assert_no_error (error);
  qemu_spec_complete (guest->spec, NULL, &error);
  g_assert_no_error (error);
}

void
tiny_guest_start (TinyGuest *guest, gboolean run)
{
  g_autoptr (GError) error = NULL;

  const QemuLaunch launch = { 0 };
  qemu_start (guest->spec, guest->directory, &launch, &guest->qemu, &error);
  g_assert_no_error (error);
  if (!run)
    return;
  qmp_cont (guest->qemu.monitor, &error);
  g_assert_no_error (error);
  tiny_guest_wait_output (guest, 1);
}

void
tiny_guest_clear (TinyGuest *guest)
{
  g_autoptr (GError) error = NULL;
  KeeperState state;
  gboolean known = keeper_read_state (guest->directory, &state, NULL);

  qemu_end (guest->directory, NULL, &error);
  g_assert_no_error (error);
  if (known) {
    g_assert_false (process_id_alive (state.qemu));
    g_assert_false (process_id_alive (state.keeper));
  }
  qemu_guest_clear (&guest->qemu);
  qemu_remove_directory (guest->directory);
  g_unlink (guest->disk);
  g_assert_cmpint (g_rmdir (guest->parent), ==, 0);
  guest_spec_free (guest->spec);
  g_free (guest->parent);
  g_free (guest->directory);
  g_free (guest->disk);
}

char *
tiny_guest_file (TinyGuest *guest, const char *name)
{
  return g_build_filename (guest->directory, name, NULL);
}

void
wait_until (gboolean (*done) (gpointer data), gpointer data, const char *what)
{
  gint64 deadline = g_get_monotonic_time() + WAIT_US;

  while (!done (data)) {
    if (g_get_monotonic_time() > deadline)
      g_error ("waited in vain for: %s", what);
    g_usleep (2000);
  }
}

/* Bytes printed so far, counting a rotation as one full file. */
static guint64
output_size (TinyGuest *guest)
{
  g_autofree char *log = tiny_guest_file (guest, GUEST_FILE_LOG);
  g_autofree char *old = tiny_guest_file (guest, GUEST_FILE_LOG_OLD);
  GStatBuf st;
  guint64 size = 0;

  if (g_stat (old, &st) == 0)
    size += st.st_size;
  if (g_stat (log, &st) == 0)
    size += st.st_size;
  return size;
}

typedef struct {
  TinyGuest *guest;
  guint64 size;
} Goal;

static gboolean
has_printed (gpointer data)
{
  Goal *goal = data;

  return output_size (goal->guest) >= goal->size;
}

void
tiny_guest_wait_output (TinyGuest *guest, guint64 bytes)
{
  Goal goal = { guest, output_size (guest) + bytes };

  wait_until (has_printed, &goal, "output of the guest");
}

gboolean
skip_without_qemu (void)
{
  g_autofree char *path = g_find_program_in_path ("qemu-system-x86_64");

  if (path == NULL)
    g_test_skip ("there is no qemu-system-x86_64");
  return path == NULL;
}
