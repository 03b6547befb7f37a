/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "domains.h"

#include "api-error.h"
#include "domain-attach.h"

#include <vmckpt/drivers/domain-spec.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/json.h>
#include <vmckpt/util/name.h>

#include <string.h>
#include <unistd.h>

#define SYSTEM_URI "qemu:///system"
#define LIST_TIMEOUT_MS 5000

/* Of either kind of libvirt's daemons: the one for all, and QEMU's own. */
static const char *const system_sockets[] = { "/run/libvirt/libvirt-sock",
                                              "/run/libvirt/virtqemud-sock" };

struct _Domains {
  Registry *registry;
  char *uri; /* (nullable) */
  GMutex lock;
  GHashTable *links; /* URI → LibvirtLink; with the lock */
  GMutex attaching;  /* held while one is attached: two who want the same get the same */
};

Domains *
domains_new (Registry *registry, const char *uri)
{
  Domains *domains = g_new0 (Domains, 1);

  domains->registry = registry;
  domains->uri = g_strdup (uri);
  g_mutex_init (&domains->lock);
  g_mutex_init (&domains->attaching);
  domains->links =
      g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify)libvirt_link_unref);
  return domains;
}

void
domains_free (Domains *domains)
{
  if (domains == NULL)
    return;
  g_hash_table_unref (domains->links);
  g_mutex_clear (&domains->lock);
  g_mutex_clear (&domains->attaching);
  g_free (domains->uri);
  g_free (domains);
}

const char *
domains_default_uri (const char *runtime)
{
  g_autofree char *own = runtime_default_path();

  return geteuid() == 0 && g_strcmp0 (runtime, own) == 0 ? SYSTEM_URI : NULL;
}

const char *
domains_uri (const Domains *domains)
{
  return domains->uri;
}

LibvirtLink *
domains_link (Domains *domains, const char *uri, GError **error)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&domains->lock);
  LibvirtLink *link = g_hash_table_lookup (domains->links, uri);

  if (link == NULL || !libvirt_link_usable (link)) {
    link = libvirt_link_open (uri, error);
    if (link == NULL)
      return NULL;
    g_hash_table_replace (domains->links, g_strdup (uri), link);
  }
  return libvirt_link_ref (link);
}

/* Whether there is anybody to be asked, or that can only be known by asking. */
static gboolean
may_be_there (const Domains *domains)
{
  if (domains->uri == NULL)
    return FALSE;
  if (!g_str_equal (domains->uri, SYSTEM_URI))
    return TRUE;
  for (guint i = 0; i < G_N_ELEMENTS (system_sockets); i++)
    if (g_file_test (system_sockets[i], G_FILE_TEST_EXISTS))
      return TRUE;
  return FALSE;
}

/* ---- Listing ---- */

/* Running domains: (element-type LibvirtDomain). */
static GPtrArray *
ask_for_all (Domains *domains, GError **error)
{
  g_autoptr (LibvirtLink) link = domains_link (domains, domains->uri, error);
  g_autoptr (JsonObject) answer =
      link != NULL
          ? libvirt_link_ask (link, "list", NULL, -1, LIST_TIMEOUT_MS, NULL, NULL, NULL, error)
          : NULL;
  JsonArray *array = answer != NULL ? json_get_array (answer, "domains", error) : NULL;
  g_autoptr (GPtrArray) list = g_ptr_array_new_with_free_func ((GDestroyNotify)libvirt_domain_free);

  for (guint i = 0; array != NULL && i < json_array_get_length (array); i++) {
    JsonNode *node = json_array_get_element (array, i);
    LibvirtDomain *domain = JSON_NODE_HOLDS_OBJECT (node)
                                ? libvirt_domain_from_json (json_node_get_object (node), error)
                                : NULL;
    if (domain == NULL)
      return NULL;
    g_ptr_array_add (list, domain);
  }
  return array != NULL ? g_steal_pointer (&list) : NULL;
}

/* The name that it has here. */
static const char *
name_of (const LibvirtDomain *domain)
{
  return name_check (domain->name, "guest name", NULL) ? domain->name : domain->uuid;
}

/* As guest_to_json(), of a domain that nobody works on. */
static JsonObject *
describe (const Domains *domains, const LibvirtDomain *domain)
{
  static const char *const unknown[] = {
    "reason",       "filled_bytes", "untracked",  "machine",
    "qemu_version", "started_us",   "checkpoint", "operation"
  };
  JsonObject *object = json_object_new();
  gboolean runs = g_str_equal (domain->state, "running") || g_str_equal (domain->state, "blocked");

  json_object_set_string_member (object, "name", name_of (domain));
  json_object_set_string_member (object, "uuid", domain->uuid);
  json_object_set_string_member (object, "driver", guest_driver_name (GUEST_DRIVER_LIBVIRT));
  json_object_set_string_member (object, "uri", domains->uri);
  json_object_set_string_member (object, "state", runs ? "running" : "paused");
  json_object_set_int_member (object, "pid", domain->qemu.pid);
  json_object_set_int_member (object, "ram_bytes", (gint64)domain->memory);
  json_object_set_int_member (object, "cpus", domain->cpus);
  json_object_set_string_member (object, "memory", memory_kind_name (MEMORY_PRIVATE));
  json_object_set_string_member (object, "accel",
                                 g_strcmp0 (domain->type, "kvm") == 0 ? "kvm" : "tcg");
  for (guint i = 0; i < G_N_ELEMENTS (unknown); i++)
    json_object_set_null_member (object, unknown[i]);
  json_set_string_or_null (object, "operation", domain->job);
  return object;
}

JsonArray *
domains_list (Domains *domains, GError **error)
{
  g_autoptr (GPtrArray) all = NULL;

  if (!may_be_there (domains))
    return json_array_new();
  all = ask_for_all (domains, error);
  if (all == NULL)
    return NULL;
  JsonArray *list = json_array_new();
  for (guint i = 0; i < all->len; i++) {
    const LibvirtDomain *domain = all->pdata[i];
    g_autoptr (Guest) guest = registry_find_uuid (domains->registry, domain->uuid);
    if (guest == NULL)
      json_array_add_object_element (list, describe (domains, domain));
  }
  return list;
}

/* What libvirt is to be asked for, or NULL if @name can be none of its. */
static const char *
wanted_domain (const char *name)
{
  return g_str_has_prefix (name, DOMAIN_PREFIX) ? name + strlen (DOMAIN_PREFIX) : name;
}

JsonObject *
domains_show (Domains *domains, const char *name)
{
  g_autoptr (GPtrArray) all = may_be_there (domains) ? ask_for_all (domains, NULL) : NULL;
  const char *wanted = wanted_domain (name);

  for (guint i = 0; all != NULL && i < all->len; i++) {
    const LibvirtDomain *domain = all->pdata[i];
    if (g_str_equal (domain->uuid, wanted) || g_str_equal (domain->name, wanted))
      return describe (domains, domain);
  }
  return NULL;
}

/* ---- Attaching ---- */

/* What @link describes as a guest of the registry; its directory is gone again if that fails. */
static Guest *
attach (Domains *domains, const LibvirtDescription *description, GError **error)
{
  g_autoptr (GuestSpec) spec = domain_spec_lenient (
      description->live_xml, strlen (description->live_xml), domains->uri, error);
  g_autoptr (Guest) guest = NULL;
  g_autoptr (GuestRam) ram = NULL;
  g_auto (QemuGuest) qemu = { 0 };

  if (spec == NULL)
    return NULL;
  guest = registry_add (domains->registry, spec, GUEST_STARTING, error);
  if (guest == NULL)
    return NULL;
  g_autoptr (GuestWork) work = guest_begin_work (guest, "attaching it", NULL);
  if (domain_attach (spec, guest_directory (guest), &ram, &qemu, error) &&
      guest_connect (guest, &qemu, &ram, error))
    return g_steal_pointer (&guest);
  domain_detach (guest_directory (guest));
  registry_remove (domains->registry, guest);
  return NULL;
}

/* Libvirt's "no such domain" is ours. */
static LibvirtDescription *
ask_for (Domains *domains, const char *name, GCancellable *cancellable, GError **error)
{
  g_autoptr (LibvirtLink) link = domains_link (domains, domains->uri, error);
  g_autoptr (GError) cause = NULL;

  if (link == NULL)
    return NULL;
  LibvirtDescription *description = libvirt_link_describe (link, name, cancellable, &cause);
  if (description == NULL && g_error_matches (cause, LIBVIRT_ERROR, LIBVIRT_ERROR_NOT_FOUND))
    g_set_error (error, API_ERROR, API_NOT_FOUND,
                 "no guest '%.64s' on this host, and no domain of that name runs at %s", name,
                 domains->uri);
  else if (description == NULL)
    g_propagate_error (error, g_steal_pointer (&cause));
  return description;
}

Guest *
domains_find (Domains *domains, const char *name, GCancellable *cancellable, GError **error)
{
  g_autoptr (GError) cause = NULL;
  Guest *guest = registry_get (domains->registry, name, &cause);

  if (guest != NULL || !may_be_there (domains)) {
    if (guest == NULL)
      g_propagate_error (error, g_steal_pointer (&cause));
    return guest;
  }
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&domains->attaching);
  guest = registry_get (domains->registry, name, NULL);
  if (guest != NULL)
    return guest;
  g_autoptr (LibvirtDescription) description =
      ask_for (domains, wanted_domain (name), cancellable, error);
  if (description == NULL)
    return NULL;
  /* Under another of its names. */
  guest = registry_find_uuid (domains->registry, description->domain->uuid);
  return guest != NULL ? guest : attach (domains, description, error);
}

/* ---- The record ---- */

/* As it is now: disks come and go, by virsh. */
static gboolean
read_disks (const LibvirtDescription *description, const char *uri, GuestSpec **present,
            GError **error)
{
  if (present == NULL)
    return TRUE;
  *present =
      domain_spec_from_xml (description->live_xml, strlen (description->live_xml), uri, error);
  return *present != NULL;
}

JsonObject *
domains_record (Domains *domains, const GuestSpec *spec, gboolean *persistent, GuestSpec **present,
                GCancellable *cancellable, GError **error)
{
  g_autoptr (LibvirtLink) link = domains_link (domains, spec->uri, error);
  g_autoptr (LibvirtDescription) description =
      link != NULL ? libvirt_link_describe (link, spec->uuid, cancellable, error) : NULL;

  if (description == NULL)
    return NULL;
  if (description->domain->job != NULL) {
    g_set_error (error, API_ERROR, API_CONFLICT,
                 "libvirt is at work on domain %s ('%s'): try again when that is over", spec->name,
                 description->domain->job);
    return NULL;
  }
  if (!read_disks (description, spec->uri, present, error))
    return NULL;
  if (persistent != NULL)
    *persistent = description->domain->persistent;
  JsonObject *object = json_object_new();
  json_object_set_string_member (object, "uri", spec->uri);
  json_object_set_string_member (object, "host", description->host);
  json_object_set_string_member (object, "name", description->domain->name);
  json_object_set_string_member (object, "xml", description->xml);
  json_set_string_or_null (object, "inactive_xml", description->inactive_xml);
  json_object_set_boolean_member (object, "persistent", description->domain->persistent);
  json_object_set_boolean_member (object, "autostart", description->domain->autostart);
  return object;
}
