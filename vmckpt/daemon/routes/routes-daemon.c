/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* /v1, /v1/doctor, /v1/shutdown: this daemon, and what its host can do. */
#include "peer-check.h"
#include "router.h"

#include <vmckpt/ram/guest-ram.h>
#include <vmckpt/ram/track-probe.h>

#include <unistd.h>

static JsonObject *
show_daemon (Request *request, GError **error)
{
  Daemon *daemon = request->daemon;
  JsonObject *result = json_object_new();

  json_object_set_string_member (result, "name", "vmckptd");
  json_object_set_string_member (result, "version", VMCKPT_VERSION);
  json_object_set_int_member (result, "pid", getpid());
  json_object_set_string_member (result, "runtime", daemon->runtime->path);
  json_object_set_string_member (result, "host", daemon->runtime->host);
  json_object_set_int_member (result, "guests", registry_count_alive (daemon->registry));
  return result;
}

/* How fast checkpoints can be here. */
static void
add_tracking_check (JsonArray *checks)
{
  g_auto (TrackProbe) probe = { 0 };
  JsonObject *object = json_object_new();
  const char *instead;

  track_probe (&probe);
  instead = probe.sync ? "first writes to pages wait for vmckptd (synchronous)"
            : probe.soft_dirty
                ? "a checkpoint stops the guest and copies what it wrote (soft-dirty)"
                : "a checkpoint reads all of the guest's memory";
  g_autofree char *found = probe.async
                               ? g_strdup ("asynchronous write-protection, told by PAGEMAP_SCAN")
                               : g_strdup_printf ("%s; instead, %s", probe.lacks, instead);
  json_object_set_string_member (object, "check", "write-tracking");
  json_object_set_boolean_member (object, "ok", probe.async);
  json_object_set_string_member (object, "found", found);
  json_object_set_string_member (object, "for",
                                 "checkpoints that cost what the guest wrote, not what it has");
  json_object_set_string_member (
      object, "mend", probe.async ? "" : "Linux 6.7 or newer, and a userfaultfd (see there)");
  json_array_add_object_element (checks, object);
}

static void
add_drained_check (JsonArray *checks, Registry *registry)
{
  JsonObject *object = json_object_new();
  gboolean drained = registry_is_drained (registry);

  json_object_set_string_member (object, "check", "takes-guests");
  json_object_set_boolean_member (object, "ok", !drained);
  json_object_set_string_member (object, "found", drained ? "no: this host is drained" : "yes");
  json_object_set_string_member (object, "for", "running guests here");
  json_object_set_string_member (object, "mend", drained ? "vmckpt drain --undo" : "");
  json_array_add_object_element (checks, object);
}

/* Whether QEMU can be given its userfaultfds. */
static void
add_preload_check (JsonArray *checks)
{
  JsonObject *object = json_object_new();
  g_autofree char *reason = NULL;
  g_autofree char *path = guest_ram_find_preload (&reason);

  json_object_set_string_member (object, "check", "preload");
  json_object_set_boolean_member (object, "ok", path != NULL);
  json_object_set_string_member (object, "found", path != NULL ? path : reason);
  json_object_set_string_member (object, "for", "giving QEMU the userfaultfds of its guest");
  json_object_set_string_member (
      object, "mend",
      path != NULL ? "" : "install vmckpt whole, or name the object with VMCKPT_PRELOAD");
  json_array_add_object_element (checks, object);
}

static JsonObject *
doctor (Request *request, GError **error)
{
  JsonObject *result = json_object_new();
  JsonArray *checks = qemu_doctor (request_query (request, "qemu"));

  add_preload_check (checks);
  add_tracking_check (checks);
  add_drained_check (checks, request->daemon->registry);
  if (request_query (request, "host") != NULL)
    json_array_add_object_element (
        checks, peer_check (request_query (request, "host"), request->daemon->tls));
  json_object_set_array_member (result, "checks", checks);
  return result;
}

static gboolean
quit_loop (gpointer loop)
{
  g_main_loop_quit (loop);
  return G_SOURCE_REMOVE;
}

static JsonObject *
shut_down (Request *request, GError **error)
{
  if (!request_expect (request, error, NULL))
    return NULL;
  /* Calls at work, this one too, are answered before the process ends. */
  g_idle_add (quit_loop, request->daemon->loop);
  return json_object_new();
}

const Route daemon_routes[] = {
  { "GET", "/v1", show_daemon, NULL, FALSE },
  { "GET", "/v1/doctor", doctor, NULL, FALSE },
  { "POST", "/v1/shutdown", shut_down, NULL, FALSE },
  { NULL },
};
