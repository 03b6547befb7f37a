/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a guest is listed as while its QEMU does not answer, and who may work on it meanwhile. This
 * process stands in for a QEMU, and for its keeper, that live and say nothing. */
#include "guest.h"

#include "api-error.h"

#include <vmckpt/qmp/client.h>
#include <vmckpt/util/process.h>

#include <glib/gstdio.h>

typedef struct {
  char *directory;
  Runtime *runtime;
  Guest *guest;
} Host;

/* keeper.json */
static void
write_state (Host *host, gboolean exited)
{
  ProcessId self = process_id_of (getpid());
  g_autofree char *boot = process_boot_id();
  g_autofree char *process = g_strdup_printf (
      "{\"pid\": %d, \"start_ticks\": %" G_GUINT64_FORMAT "}", self.pid, self.start_ticks);
  g_autofree char *text = g_strdup_printf (
      "{\"version\": 1, \"boot\": \"%s\", \"keeper\": %s, \"qemu\": %s, \"exited\": %s}", boot,
      process, process, exited ? "true" : "false");
  g_autofree char *path = g_build_filename (guest_directory (host->guest), "keeper.json", NULL);
  KeeperState state;
  GError *error = NULL;

  g_file_set_contents (path, text, -1, &error);
  g_assert_no_error (error);
  g_assert_true (keeper_read_state (guest_directory (host->guest), &state, &error));
}

static void
set_up (Host *host, gconstpointer data)
{
  g_autoptr (GuestSpec) spec = guest_spec_new ("g");
  GError *error = NULL;

  host->directory = g_dir_make_tmp ("vmckpt-XXXXXX", NULL);
  host->runtime = runtime_open (host->directory, NULL, &error);
  g_assert_no_error (error);
  host->guest = guest_new (host->runtime, spec, GUEST_UNRESPONSIVE);
  g_assert_cmpint (g_mkdir (guest_directory (host->guest), 0700), ==, 0);
  write_state (host, FALSE);
}

static void
tear_down (Host *host, gconstpointer data)
{
  g_autofree char *lock = g_build_filename (host->directory, "lock", NULL);

  guest_remove_files (host->guest);
  guest_unref (host->guest);
  while (g_main_context_iteration (NULL, FALSE)) /* where guests are freed */
    ;
  g_unlink (lock);
  g_rmdir (host->runtime->guests);
  g_assert_cmpint (g_rmdir (host->directory), ==, 0); /* nothing else was left */
  runtime_free (host->runtime);
  g_free (host->directory);
}

static void
get_into_trouble (Guest *guest)
{
  g_autoptr (GError) reason = g_error_new_literal (API_ERROR, API_FAILED, "page 7 is damaged");
  guest_set_trouble (guest, reason);
}

static void
assert_listed (Guest *guest, const char *state, const char *reason)
{
  g_autoptr (JsonObject) object = guest_to_json (guest);
  const char *told = json_object_get_string_member_with_default (object, "reason", "");

  g_assert_cmpstr (json_object_get_string_member (object, "state"), ==, state);
  if (strstr (told, reason) == NULL)
    g_error ("the reason should say '%s', but it is: %s", reason, told);
}

static void
test_silence_alone_is_unresponsive (Host *host, gconstpointer data)
{
  guest_find_again (host->guest);
  assert_listed (host->guest, "unresponsive", "guest in ");
  g_assert_true (guest_is_lost (host->guest));
}

/* A QEMU that waits for a page does not answer: the page is what the user must hear of. */
static void
test_trouble_explains_silence (Host *host, gconstpointer data)
{
  g_autoptr (GError) silent = g_error_new_literal (QMP_ERROR, QMP_ERROR_TIMEOUT, "no answer");
  g_autoptr (GError) error = NULL;

  get_into_trouble (host->guest);
  guest_find_again (host->guest);
  assert_listed (host->guest, "paused", "page 7 is damaged");
  guest_note_failure (host->guest, silent);
  assert_listed (host->guest, "paused", "page 7 is damaged");
  g_assert_true (guest_is_in_trouble (host->guest));
  /* It is looked for further, and nobody is told that it went on. */
  g_assert_true (guest_is_lost (host->guest));
  g_assert_false (guest_continue (host->guest, &error));
  g_assert_error (error, API_ERROR, API_FAILED);
  g_assert_cmpstr (error->message, ==, "guest g is paused: page 7 is damaged");
}

static void
test_trouble_that_comes_later_explains_silence (Host *host, gconstpointer data)
{
  guest_find_again (host->guest);
  get_into_trouble (host->guest);
  assert_listed (host->guest, "paused", "page 7 is damaged");
  g_assert_true (guest_is_lost (host->guest));
}

static void
test_silence_after_trouble_is_unresponsive (Host *host, gconstpointer data)
{
  get_into_trouble (host->guest);
  guest_clear_trouble (host->guest);
  guest_find_again (host->guest);
  assert_listed (host->guest, "unresponsive", "guest in ");
}

/* A guest that a missing page has stopped comes back running from a suspend. */
static void
test_trouble_is_nobodys_wish (Host *host, gconstpointer data)
{
  guest_set_exited (host->guest, "");
  g_assert_false (guest_is_paused_on_purpose (host->guest));
  guest_unref (host->guest);
  g_autoptr (GuestSpec) spec = guest_spec_new ("g");
  host->guest = guest_new (host->runtime, spec, GUEST_PAUSED);
  g_assert_true (guest_is_paused_on_purpose (host->guest));
  get_into_trouble (host->guest);
  g_assert_true (guest_is_paused_on_purpose (host->guest));
  guest_unref (host->guest);
  host->guest = guest_new (host->runtime, spec, GUEST_RUNNING);
  get_into_trouble (host->guest);
  g_assert_false (guest_is_paused_on_purpose (host->guest));
  guest_clear_trouble (host->guest);
  g_assert_false (guest_is_paused_on_purpose (host->guest));
}

static void
test_an_end_ends_trouble (Host *host, gconstpointer data)
{
  get_into_trouble (host->guest);
  write_state (host, TRUE);
  guest_find_again (host->guest);
  assert_listed (host->guest, "exited", "");
  g_assert_false (guest_is_in_trouble (host->guest));
  g_assert_false (guest_is_lost (host->guest));
}

static gpointer
end_work (gpointer work)
{
  guest_end_work (work);
  return NULL;
}

static void
test_only_finding_is_waited_for (Host *host, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  GuestWork *finding = guest_begin_work (host->guest, GUEST_WORK_FINDING, &error);

  g_assert_no_error (error);
  GThread *thread = g_thread_new ("end", end_work, finding);
  g_autoptr (GuestWork) work = guest_begin_work_when_found (host->guest, "continue", &error);
  g_assert_no_error (error);
  g_thread_join (thread);
  g_assert_null (guest_begin_work_when_found (host->guest, "a resume", &error));
  g_assert_cmpstr (error->message, ==, "guest g is busy: continue is at work on it");
}

#define ADD(path, func) g_test_add ("/guest/" path, Host, NULL, set_up, func, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_main_context_acquire (NULL);
  ADD ("silence", test_silence_alone_is_unresponsive);
  ADD ("trouble", test_trouble_explains_silence);
  ADD ("trouble-later", test_trouble_that_comes_later_explains_silence);
  ADD ("trouble-over", test_silence_after_trouble_is_unresponsive);
  ADD ("trouble-is-nobodys-wish", test_trouble_is_nobodys_wish);
  ADD ("trouble-ended", test_an_end_ends_trouble);
  ADD ("finding", test_only_finding_is_waited_for);
  return g_test_run();
}
