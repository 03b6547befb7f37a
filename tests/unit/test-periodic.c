/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "periodic.h"

#include <string.h>

/* Takes nothing: reports of a test's making. */
typedef struct {
  guint calls;
  guint fails_at;  /* 0: never; the call that fails */
  guint passes_at; /* likewise, with an error that passes */
  guint cancel_at; /* likewise: the call that finds itself cancelled */
  guint made;      /* reports that were told */
  GString *messages;
  GCancellable *cancellable;
} Fake;

static JsonObject *
fake_take (gpointer user_data, gboolean *passes, GError **error)
{
  static const double pauses[] = { 8, 2, 4, 6 };
  Fake *fake = user_data;
  JsonObject *report = NULL;

  fake->calls++;
  *passes = fake->calls == fake->passes_at;
  if (fake->calls == fake->cancel_at) {
    g_cancellable_cancel (fake->cancellable);
    g_cancellable_set_error_if_cancelled (fake->cancellable, error);
    return NULL;
  }
  if (*passes || fake->calls == fake->fails_at) {
    g_set_error (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE, *passes ? "it is busy" : "no room");
    return NULL;
  }
  g_autofree char *id = g_strdup_printf ("id%u", fake->calls);
  report = json_object_new();
  json_object_set_string_member (report, "id", id);
  json_object_set_double_member (report, "pause_ms", pauses[(fake->calls - 1) % 4]);
  json_object_set_double_member (report, "wall_ms", 20);
  json_object_set_int_member (report, "dirty_bytes", 4096);
  json_object_set_int_member (report, "new_bytes", 200);
  json_object_set_int_member (report, "stored_bytes", 100);
  return report;
}

static void
fake_made (JsonObject *report, gpointer user_data)
{
  Fake *fake = user_data;

  fake->made++;
  g_assert_nonnull (json_object_get_string_member (report, "id"));
}

static void
fake_message (const char *text, gpointer user_data)
{
  g_string_append (((Fake *)user_data)->messages, text);
}

/* Four of them, or as many as the test lets. */
static JsonObject *
run (Fake *fake, GError **error)
{
  Periodic periodic = { .schedule = { .every_us = SCHEDULE_EVERY_MIN_US, .count = 4 },
                        .take = fake_take,
                        .made = fake_made,
                        .message = fake_message,
                        .user_data = fake };

  fake->messages = g_string_new (NULL);
  periodic.cancellable = fake->cancellable = g_cancellable_new();
  JsonObject *summary = periodic_run (&periodic, error);
  g_object_unref (fake->cancellable);
  return summary;
}

static void
fake_clear (Fake *fake)
{
  g_string_free (fake->messages, TRUE);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Fake, fake_clear)

static void
test_summary (void)
{
  g_auto (Fake) fake = { 0 };
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) summary = run (&fake, &error);

  g_assert_no_error (error);
  g_assert_cmpuint (fake.made, ==, 4);
  g_assert_cmpint (json_object_get_int_member (summary, "checkpoints"), ==, 4);
  g_assert_cmpint (json_object_get_int_member (summary, "skipped"), ==, 0);
  g_assert_cmpfloat (json_object_get_double_member (summary, "pause_ms_median"), ==, 5);
  g_assert_cmpfloat (json_object_get_double_member (summary, "pause_ms_worst"), ==, 8);
  g_assert_cmpint (json_object_get_int_member (summary, "dirty_bytes"), ==, 4 * 4096);
  g_assert_cmpint (json_object_get_int_member (summary, "new_bytes"), ==, 800);
  g_assert_cmpint (json_object_get_int_member (summary, "stored_bytes"), ==, 400);
  g_assert_cmpstr (json_object_get_string_member (summary, "last"), ==, "id4");
  /* The paused share is of the time that passed. */
  double seconds = json_object_get_double_member (summary, "seconds");
  g_assert_cmpfloat (seconds, >=, 0.03);
  g_assert_cmpfloat_with_epsilon (json_object_get_double_member (summary, "paused_share"),
                                  0.020 / seconds, 0.02);
}

/* What passes costs one; the others are taken. */
static void
test_passes (void)
{
  g_auto (Fake) fake = { .passes_at = 2 };
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) summary = run (&fake, &error);

  g_assert_no_error (error);
  g_assert_cmpuint (fake.calls, ==, 4);
  g_assert_cmpint (json_object_get_int_member (summary, "checkpoints"), ==, 3);
  g_assert_cmpint (json_object_get_int_member (summary, "skipped"), ==, 1);
  g_assert_nonnull (strstr (fake.messages->str, "it is busy"));
}

static void
test_fails (void)
{
  g_auto (Fake) fake = { .fails_at = 3 };
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) summary = run (&fake, &error);

  g_assert_null (summary);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE);
  g_assert_cmpstr (error->message, ==, "after 2 checkpoints: no room");
  g_assert_cmpuint (fake.made, ==, 2);
  g_assert_cmpuint (fake.calls, ==, 3);
}

/* Nothing was made: a summary all the same. */
static void
test_none (void)
{
  g_auto (Fake) fake = { .passes_at = 1 };
  g_autoptr (GError) error = NULL;
  Periodic periodic = { .schedule = { .every_us = SCHEDULE_EVERY_MIN_US, .count = 1 },
                        .take = fake_take,
                        .made = fake_made,
                        .message = fake_message,
                        .user_data = &fake };
  fake.messages = g_string_new (NULL);
  g_autoptr (JsonObject) summary = periodic_run (&periodic, &error);

  g_assert_no_error (error);
  g_assert_cmpint (json_object_get_int_member (summary, "checkpoints"), ==, 0);
  g_assert_true (json_object_get_null_member (summary, "pause_ms_median"));
  g_assert_true (json_object_get_null_member (summary, "last"));
}

static void
test_cancelled (void)
{
  g_auto (Fake) fake = { .cancel_at = 2 };
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) summary = run (&fake, &error);

  g_assert_null (summary);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_assert_cmpuint (fake.calls, ==, 2);
}

static gpointer
cancel_soon (gpointer data)
{
  g_usleep (20000);
  g_cancellable_cancel (data);
  return NULL;
}

/* Between two that are a day apart. */
static void
test_cancelled_between (void)
{
  g_auto (Fake) fake = { .messages = g_string_new (NULL) };
  g_autoptr (GCancellable) cancellable = g_cancellable_new();
  g_autoptr (GError) error = NULL;
  Periodic periodic = { .schedule = { .every_us = SCHEDULE_TIME_MAX_US },
                        .take = fake_take,
                        .made = fake_made,
                        .message = fake_message,
                        .user_data = &fake,
                        .cancellable = cancellable };
  GThread *thread = g_thread_new ("cancel", cancel_soon, cancellable);
  g_assert_null (periodic_run (&periodic, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_assert_cmpuint (fake.made, ==, 1);
  g_thread_join (thread);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/periodic/summary", test_summary);
  g_test_add_func ("/periodic/passes", test_passes);
  g_test_add_func ("/periodic/fails", test_fails);
  g_test_add_func ("/periodic/none", test_none);
  g_test_add_func ("/periodic/cancelled", test_cancelled);
  g_test_add_func ("/periodic/cancelled-between", test_cancelled_between);
  return g_test_run();
}
