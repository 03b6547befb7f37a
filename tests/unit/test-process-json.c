/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/util/json.h>
#include <vmckpt/util/process-json.h>

#include <string.h>

static void
test_there_and_back (void)
{
  g_autoptr (JsonObject) object = json_object_new();
  g_autoptr (GError) error = NULL;
  const ProcessId id = { .pid = 4711, .start_ticks = G_GUINT64_CONSTANT (1) << 40 };
  ProcessId read = { 0 };

  process_json_add (object, "qemu", id);
  g_assert_true (process_json_get (object, "qemu", &read, &error));
  g_assert_no_error (error);
  g_assert_cmpint (read.pid, ==, id.pid);
  g_assert_cmpuint (read.start_ticks, ==, id.start_ticks);
}

static void
test_refused (void)
{
  static const char *const texts[] = { "{}",
                                       "{\"qemu\":7}",
                                       "{\"qemu\":{}}",
                                       "{\"qemu\":{\"pid\":7}}",
                                       "{\"qemu\":{\"pid\":-7,\"start_ticks\":1}}",
                                       "{\"qemu\":{\"pid\":\"7\",\"start_ticks\":1}}" };

  for (guint i = 0; i < G_N_ELEMENTS (texts); i++) {
    g_autoptr (GError) error = NULL;
    g_autoptr (JsonObject) object =
        json_parse_bounded (texts[i], strlen (texts[i]), 1024, 4, &error);
    ProcessId id;
    g_assert_no_error (error);
    g_assert_false (process_json_get (object, "qemu", &id, &error));
    g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/util/process-json/there-and-back", test_there_and_back);
  g_test_add_func ("/util/process-json/refused", test_refused);
  return g_test_run();
}
