/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Temporaries of a point: what QEMU is told in which order, and what its answers come to. With a
 * real QEMU they are made in test-disk-point.
 */
#include "fake-peer.h"
#include "point-names.h"
#include "point-temporaries.h"

#include <vmckpt/disk/disk-error.h>

#include <glib/gstdio.h>

#define SOCKET "/run/guest/disks.sock"

typedef struct {
  const char *jobs[3]; /* answers to query-jobs, one after the other */
} Script;

static char *
make_directory (void)
{
  return g_dir_make_tmp ("vmckpt-temporaries-XXXXXX", NULL);
}

static void
answer_next (FakePeer *peer, const char *command, const char *answer)
{
  fake_peer_answer (peer, fake_peer_expect (peer, command), answer);
}

static void
play (FakePeer *peer, gpointer data)
{
  const Script *script = data;

  fake_peer_greet (peer, FALSE);
  answer_next (peer, "add-fd", "{\"fdset-id\":1,\"fd\":5}");
  int fd = fake_peer_take_fd (peer);
  g_assert_cmpint (fd, >=, 0);
  fd_close (&fd);
  answer_next (peer, "blockdev-add", "{}");
  answer_next (peer, "remove-fd", "{}");
  answer_next (peer, "blockdev-create", "{}");
  for (guint i = 0; i < G_N_ELEMENTS (script->jobs) && script->jobs[i] != NULL; i++)
    answer_next (peer, "query-jobs", script->jobs[i]);
  if (strstr (script->jobs[0], "running") != NULL) {
    answer_next (peer, "job-dismiss", "{}");
    answer_next (peer, "blockdev-add", "{}");
  }
  fake_peer_wait_closed (peer);
}

/* One disk's temporary, with @script as QEMU. Whatever comes, no name is left in the directory. */
static gboolean
make (const Script *script, GError **error)
{
  g_autofree char *directory = make_directory();
  int fd;
  g_autoptr (FakePeer) peer = fake_peer_start (play, (gpointer)script, &fd);
  g_autoptr (QmpClient) monitor = qmp_client_new_for_fd (fd, 30000, error);
  const PointTemporary disk = { "disk0", 1 << 20 };
  const PointTemporaries all = { monitor, directory, SOCKET, &disk, 1 };

  g_assert_nonnull (monitor);
  gboolean made = point_temporaries_make (&all, NULL, error);
  qmp_client_close (monitor);
  g_assert_cmpint (g_rmdir (directory), ==, 0);
  return made;
}

/* Opened once its job is done. */
static void
test_made (void)
{
  const Script script = { { "[{\"id\":\"vmckpt-j0\",\"status\":\"running\"}]",
                            "[{\"id\":\"other\",\"status\":\"concluded\",\"error\":\"theirs\"},"
                            "{\"id\":\"vmckpt-j0\",\"status\":\"running\"}]",
                            "[{\"id\":\"vmckpt-j0\",\"status\":\"concluded\"}]" } };
  g_autoptr (GError) error = NULL;

  g_assert_true (make (&script, &error));
  g_assert_no_error (error);
}

static void
test_failed (void)
{
  const Script full = {
    { "[{\"id\":\"vmckpt-j0\",\"status\":\"concluded\",\"error\":\"no space\"}]" }
  };
  const Script gone = { { "[]" } };
  g_autoptr (GError) error = NULL;

  g_assert_false (make (&full, &error));
  g_assert_error (error, DISK_ERROR, DISK_ERROR_FAILED);
  g_assert_cmpstr (error->message, ==, "disk 'disk0': no space");
  g_clear_error (&error);
  g_assert_false (make (&gone, &error));
  g_assert_error (error, DISK_ERROR, DISK_ERROR_FAILED);
  g_assert_cmpstr (error->message, ==, "disk 'disk0': the job is gone");
}

/* Only this point's files go: the directory may be that of all guests. */
static void
test_left (void)
{
  g_autofree char *directory = make_directory();
  g_autofree char *own =
      g_strdup_printf ("%s/" DISK_PREFIX "%08x-disk0ABC", directory, g_str_hash (SOCKET));
  g_autofree char *other =
      g_strdup_printf ("%s/" DISK_PREFIX "%08x-disk0ABC", directory, g_str_hash (SOCKET "2"));

  g_assert_true (g_file_set_contents (own, "", 0, NULL));
  g_assert_true (g_file_set_contents (other, "", 0, NULL));
  point_temporaries_remove (directory, SOCKET);
  g_assert_false (g_file_test (own, G_FILE_TEST_EXISTS));
  g_assert_cmpint (g_unlink (other), ==, 0);
  point_temporaries_remove ("/nowhere", SOCKET);
  g_assert_cmpint (g_rmdir (directory), ==, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/disk/point-temporaries/made", test_made);
  g_test_add_func ("/disk/point-temporaries/failed", test_failed);
  g_test_add_func ("/disk/point-temporaries/left", test_left);
  return g_test_run();
}
