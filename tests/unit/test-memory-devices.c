/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Memory plugged into a real QEMU. */
#include "tiny-guest.h"

#include "memory-devices.h"

#include <vmckpt/util/json.h>

/* A guest with room for memory, and two more arguments. */
static void
start (TinyGuest *guest, const char *option, const char *value)
{
  const char *extra[] = { "-m", "slots=4,maxmem=1G", option, value, NULL };
  g_autoptr (GError) error = NULL;

  tiny_guest_init (guest);
  g_strfreev (guest->spec->extra);
  guest->spec->extra = g_strdupv ((char **)extra);
  g_assert_true (qemu_spec_complete (guest->spec, NULL, &error));
  g_assert_no_error (error);
  tiny_guest_start (guest, FALSE);
}

/* Executes {"execute":NAME,"arguments":ARGUMENTS}. */
static void
execute (TinyGuest *guest, const char *name, const char *arguments)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonNode) object = json_from_string (arguments, NULL);
  g_autoptr (JsonNode) answer = qmp_client_execute (
      guest->qemu.monitor, name, json_node_dup_object (object), -1, 0, NULL, &error);

  g_assert_no_error (error);
}

static void
plug (TinyGuest *guest, const char *backend)
{
  g_autofree char *object =
      g_strdup_printf ("{\"qom-type\":\"%s\",\"id\":\"mem1\",\"size\":134217728}", backend);

  execute (guest, "object-add", object);
  execute (guest, "device_add", "{\"driver\":\"pc-dimm\",\"id\":\"dimm1\",\"memdev\":\"mem1\"}");
}

static void
test_plugged_memory_becomes_arguments (void)
{
  g_auto (TinyGuest) guest = TINY_GUEST_NONE, again = TINY_GUEST_NONE;
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) spec = NULL, none = NULL;

  if (skip_without_qemu())
    return;
  start (&guest, "-S", "-S");
  none = guest_spec_to_json (guest.spec);
  g_assert_true (memory_devices_record (none, guest.qemu.monitor, &error));
  g_assert_cmpuint (json_array_get_length (json_get_array (none, "extra", NULL)), ==, 4);
  plug (&guest, "memory-backend-ram");
  spec = guest_spec_to_json (guest.spec);
  g_assert_true (memory_devices_record (spec, guest.qemu.monitor, &error));
  g_assert_no_error (error);

  /* A QEMU that is started so has the memory, and is recorded as it is. */
  tiny_guest_init (&again);
  guest_spec_free (again.spec);
  again.spec = guest_spec_from_json (spec, &error);
  g_assert_no_error (error);
  g_assert_cmpint (g_strv_length (again.spec->extra), ==, 8);
  g_assert_cmpstr (again.spec->extra[5], ==, "memory-backend-ram,id=mem1,size=134217728");
  tiny_guest_start (&again, FALSE);
  g_autoptr (JsonObject) twice = guest_spec_to_json (again.spec);
  g_assert_true (memory_devices_record (twice, again.qemu.monitor, &error));
  g_assert_cmpuint (json_array_get_length (json_get_array (twice, "extra", NULL)), ==, 8);
}

static void
test_other_memory_is_refused (void)
{
  g_auto (TinyGuest) guest = TINY_GUEST_NONE;
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) spec = NULL;

  if (skip_without_qemu())
    return;
  start (&guest, "-S", "-S");
  plug (&guest, "memory-backend-memfd");
  spec = guest_spec_to_json (guest.spec);
  g_assert_false (memory_devices_record (spec, guest.qemu.monitor, &error));
  g_assert_error (error, DRIVER_ERROR, DRIVER_ERROR_IMPOSSIBLE);
}

static void
test_only_room_may_be_given (void)
{
  static const char *const refused[] = { "1G", "size=1G,slots=2,maxmem=2G", "slots=2,maxmem", "" };
  g_auto (TinyGuest) guest = TINY_GUEST_NONE;

  if (skip_without_qemu())
    return;
  tiny_guest_init (&guest);
  for (guint i = 0; i < G_N_ELEMENTS (refused); i++) {
    const char *extra[] = { "-m", refused[i], NULL };
    g_autoptr (GError) error = NULL;
    g_strfreev (guest.spec->extra);
    guest.spec->extra = g_strdupv ((char **)extra);
    g_assert_false (qemu_spec_complete (guest.spec, NULL, &error));
    g_assert_error (error, DRIVER_ERROR, DRIVER_ERROR_INVALID);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/memory-devices/plugged", test_plugged_memory_becomes_arguments);
  g_test_add_func ("/memory-devices/refused", test_other_memory_is_refused);
  g_test_add_func ("/memory-devices/room", test_only_room_may_be_given);
  return g_test_run();
}
