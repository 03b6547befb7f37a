/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whatever happens between freezing and thawing, somebody is bound to thaw: this process, or the
 * keeper, which is told before the guest is and only released when the guest has said so. */
#include "quiesce.h"

#include "protocol.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>

#define TIMEOUT_MS 30000 /* never waited for */
#define REFUSAL "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}}"

/* What a guest's agent and keeper answer. */
typedef struct {
  const char *status, *freeze, *thaw; /* NULL: as a good one */
  guint32 keeper;                     /* KeeperStatus */
} Script;

typedef struct {
  const Script *script;
  char *directory;
  GuestSpec *spec;
  AutoFd agent, keeper; /* they listen */
  GThread *threads[2];
  GMutex lock;
  /* (lock): F: the keeper was told of the freeze, E: that it is over, x: the connection ended;
   * f, t: the guest was told to freeze, to thaw */
  GString *seen;
} Guest;

static void
note (Guest *guest, char what)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&guest->lock);

  g_string_append_c (guest->seen, what);
}

static char *
answer_to (Guest *guest, const char *line)
{
  const Script *script = guest->script;
  const char *id = strstr (line, "\"id\":");

  if (strstr (line, "guest-sync") != NULL)
    return g_strdup_printf ("\xff{\"return\": %" G_GUINT64_FORMAT "}\n",
                            g_ascii_strtoull (id + strlen ("\"id\":"), NULL, 10));
  if (strstr (line, "fsfreeze-status") != NULL)
    return g_strdup_printf ("{\"return\": \"%s\"}\n",
                            script->status != NULL ? script->status : "thawed");
  gboolean freeze = strstr (line, "fsfreeze-freeze") != NULL;
  const char *answer = freeze ? script->freeze : script->thaw;
  note (guest, freeze ? 'f' : 't');
  return g_strconcat (answer != NULL ? answer : "{\"return\": 2}", "\n", NULL);
}

static gpointer
be_agent (gpointer data)
{
  Guest *guest = data;
  char byte;

  for (;;) {
    g_autoptr (GString) line = g_string_new (NULL);
    g_auto (AutoFd) fd = accept (guest->agent, NULL, NULL);
    if (fd < 0)
      return NULL;
    while (recv (fd, &byte, 1, 0) == 1) {
      g_string_append_c (line, byte);
      if (byte != '\n')
        continue;
      g_autofree char *answer = answer_to (guest, line->str);
      fd_send (fd, answer, strlen (answer), -1, NULL);
      g_string_truncate (line, 0);
    }
  }
}

static gpointer
be_keeper (gpointer data)
{
  Guest *guest = data;
  KeeperMessage message;

  for (;;) {
    g_auto (AutoFd) fd = accept (guest->keeper, NULL, NULL);
    if (fd < 0)
      return NULL;
    while (recv (fd, &message, sizeof message, MSG_WAITALL) == sizeof message) {
      note (guest, message.type == KEEPER_FREEZE ? 'F' : message.type == KEEPER_END ? 'E' : '?');
      message.status = guest->script->keeper;
      fd_send (fd, &message, sizeof message, -1, NULL);
    }
    note (guest, 'x');
  }
}

static int
listen_at (Guest *guest, const char *name)
{
  g_autofree char *path = g_build_filename (guest->directory, name, NULL);
  g_autoptr (GError) error = NULL;
  int fd = fd_listen_unix (path, &error);

  g_assert_no_error (error);
  return fd;
}

static void
start (Guest *guest, const Script *script)
{
  *guest = (Guest){ .script = script, .directory = g_dir_make_tmp ("vmckpt-XXXXXX", NULL) };
  guest->spec = guest_spec_new ("g");
  guest->spec->agent = TRUE;
  guest->seen = g_string_new (NULL);
  g_mutex_init (&guest->lock);
  guest->agent = listen_at (guest, GUEST_FILE_AGENT);
  guest->keeper = listen_at (guest, GUEST_FILE_KEEPER);
  guest->threads[0] = g_thread_new ("agent", be_agent, guest);
  guest->threads[1] = g_thread_new ("keeper", be_keeper, guest);
}

/* What its agent and keeper have seen, in all. */
static void
end (Guest *guest, const char *seen)
{
  const char *const files[] = { GUEST_FILE_AGENT, GUEST_FILE_KEEPER };

  shutdown (guest->agent, SHUT_RDWR);
  shutdown (guest->keeper, SHUT_RDWR);
  for (guint i = 0; i < G_N_ELEMENTS (files); i++) {
    g_autofree char *path = g_build_filename (guest->directory, files[i], NULL);
    g_thread_join (guest->threads[i]);
    g_unlink (path);
  }
  g_assert_cmpstr (guest->seen->str, ==, seen);
  fd_close (&guest->agent);
  fd_close (&guest->keeper);
  g_rmdir (guest->directory);
  g_mutex_clear (&guest->lock);
  g_string_free (guest->seen, TRUE);
  guest_spec_free (guest->spec);
  g_free (guest->directory);
}

static Quiesce *
prepare (Guest *guest, gboolean paused, GError **error)
{
  const Unit unit = { .spec = guest->spec, .directory = guest->directory, .paused = paused };

  return quiesce_new (&unit, TIMEOUT_MS, NULL, error);
}

/* Freezes and thaws such a guest. @freezes, @thaws: whether that works */
static void
check (Script script, gboolean freezes, gboolean thaws, const char *seen)
{
  Guest guest;
  g_autoptr (GError) error = NULL;
  g_autoptr (GError) frozen = NULL;
  g_autoptr (GError) thawed = NULL;

  start (&guest, &script);
  Quiesce *quiesce = prepare (&guest, FALSE, &error);
  g_assert_no_error (error);
  g_assert_cmpint (quiesce_freeze (quiesce, &frozen), ==, freezes);
  g_assert_cmpint (frozen == NULL, ==, freezes);
  if (freezes)
    g_assert_true (quiesce_freeze (quiesce, NULL)); /* it is already */
  quiesce_thaw (quiesce);
  quiesce_thaw (quiesce);
  g_assert_cmpint (quiesce_finish (quiesce, &thawed), ==, thaws);
  g_assert_cmpint (thawed == NULL, ==, thaws);
  quiesce_free (quiesce);
  end (&guest, seen);
}

static void
test_thawed_by_this_process (void)
{
  check ((Script){ 0 }, TRUE, TRUE, "FftEx");
}

/* It may be frozen all the same. */
static void
test_thawed_after_a_failure (void)
{
  check ((Script){ .freeze = REFUSAL }, FALSE, TRUE, "FftEx");
  check ((Script){ .freeze = "{\"return\": 0}" }, FALSE, TRUE, "FftEx");
  check ((Script){ .freeze = "{\"return\": \"two\"}" }, FALSE, TRUE, "FftEx");
}

static void
test_keeper_goes_on_thawing (void)
{
  check ((Script){ .thaw = REFUSAL }, TRUE, FALSE, "Fftx");
}

static void
test_not_frozen_without_the_keeper (void)
{
  check ((Script){ .keeper = KEEPER_BUSY }, FALSE, TRUE, "Fx");
  check ((Script){ .keeper = KEEPER_REFUSED }, FALSE, TRUE, "Fx");
}

/* What somebody else has frozen is not ours to thaw. */
static void
test_impossible (void)
{
  static const Script frozen = { .status = "frozen" };
  g_autoptr (GError) by_others = NULL;
  g_autoptr (GError) paused = NULL;
  g_autoptr (GError) no_agent = NULL;
  Guest guest;

  start (&guest, &frozen);
  g_assert_null (prepare (&guest, FALSE, &by_others));
  g_assert_error (by_others, DRIVER_ERROR, DRIVER_ERROR_IMPOSSIBLE);
  g_assert_null (prepare (&guest, TRUE, &paused));
  g_assert_error (paused, DRIVER_ERROR, DRIVER_ERROR_IMPOSSIBLE);
  guest.spec->agent = FALSE;
  g_assert_null (prepare (&guest, FALSE, &no_agent));
  g_assert_error (no_agent, DRIVER_ERROR, DRIVER_ERROR_IMPOSSIBLE);
  end (&guest, "");
}

/* A checkpoint of a frozen guest is thawed by the keeper of who restores it. */
static void
test_taken_over (void)
{
  static const Script good = { 0 };
  g_autoptr (Manifest) manifest = manifest_new();
  KeeperFreeze *freeze;
  Guest guest;

  start (&guest, &good);
  manifest->machine = json_object_new();
  g_assert_true (quiesce_take_over (manifest, guest.spec, guest.directory, &freeze, NULL));
  g_assert_null (freeze);
  quiesce_record (manifest->machine);
  g_assert_true (quiesce_take_over (manifest, guest.spec, guest.directory, &freeze, NULL));
  g_assert_nonnull (freeze);
  keeper_freeze_free (freeze);
  end (&guest, "Fx");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/quiesce/thawed", test_thawed_by_this_process);
  g_test_add_func ("/quiesce/failure", test_thawed_after_a_failure);
  g_test_add_func ("/quiesce/keeper-goes-on", test_keeper_goes_on_thawing);
  g_test_add_func ("/quiesce/no-keeper", test_not_frozen_without_the_keeper);
  g_test_add_func ("/quiesce/impossible", test_impossible);
  g_test_add_func ("/quiesce/taken-over", test_taken_over);
  return g_test_run();
}
