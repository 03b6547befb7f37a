/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A real keeper that thaws a guest whose freeze broke; the agent is one of the test. */
#include "thaw.h"

#include "fake-agent.h"
#include "tiny-guest.h"

#include <string.h>

/* Whether keeper.json says that the guest may be frozen. */
static gboolean
is_recorded (TinyGuest *guest)
{
  g_autofree char *path = tiny_guest_file (guest, GUEST_FILE_STATE);
  g_autofree char *text = NULL;

  g_assert_true (g_file_get_contents (path, &text, NULL, NULL));
  return strstr (text, "\"frozen\" : true") != NULL;
}

static gboolean
is_over (gpointer data)
{
  return !is_recorded (data);
}

static void
test_broken (void)
{
  g_auto (TinyGuest) guest = TINY_GUEST_NONE;
  g_autoptr (GError) error = NULL;

  tiny_guest_init (&guest);
  tiny_guest_start (&guest, FALSE);
  g_autofree char *path = tiny_guest_file (&guest, GUEST_FILE_AGENT);
  g_autoptr (KeeperFreeze) freeze = keeper_freeze_take (guest.directory, &error);
  g_assert_no_error (error);
  g_assert_true (is_recorded (&guest));
  g_assert_null (keeper_freeze_take (guest.directory, &error));
  g_assert_error (error, KEEPER_ERROR, KEEPER_ERROR_BUSY);
  g_clear_error (&error);

  /* Nobody listens yet, and the first that does hangs up. */
  g_clear_pointer (&freeze, keeper_freeze_free);
  g_autoptr (FakeAgent) agent = fake_agent_start (path, 1);
  wait_until (is_over, &guest, "the keeper has thawed the guest");
  g_assert_cmpuint (fake_agent_thawed (agent), ==, 1);

  g_autoptr (KeeperFreeze) another = keeper_freeze_take (guest.directory, &error);
  g_assert_no_error (error);
  g_assert_true (keeper_freeze_end (another, &error));
  g_assert_false (is_recorded (&guest));
  g_assert_cmpuint (fake_agent_thawed (agent), ==, 1);
}

static void
on_thawed (GObject *source, GAsyncResult *result, gpointer data)
{
  *(gssize *)data = thaw_finish (result, NULL);
}

/* Without a guest there is nothing to be thawed. */
static void
test_gone (void)
{
  gssize count = 1;

  thaw_async ("/nonexistent/agent.sock", (ProcessId){ 0 }, on_thawed, &count);
  while (count == 1)
    g_main_context_iteration (NULL, TRUE);
  g_assert_cmpint (count, ==, -1);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  if (!skip_without_qemu())
    g_test_add_func ("/thaw/broken", test_broken);
  g_test_add_func ("/thaw/gone", test_gone);
  return g_test_run();
}
