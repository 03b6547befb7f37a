/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the program answers, as structures. */
#include <vmckpt/libvirt/libvirt-link.h>

#include <vmckpt/util/json.h>

void
libvirt_domain_free (LibvirtDomain *domain)
{
  g_free (domain->name);
  g_free (domain->uuid);
  g_free (domain->state);
  g_free (domain->reason);
  g_free (domain->type);
  g_free (domain->job);
  g_free (domain);
}

LibvirtDomain *
libvirt_domain_from_json (JsonObject *object, GError **error)
{
  g_autoptr (LibvirtDomain) domain = g_new0 (LibvirtDomain, 1);
  const char *name = json_get_string (object, "name", error);
  const char *uuid = name != NULL ? json_get_string (object, "uuid", error) : NULL;
  const char *state = uuid != NULL ? json_get_string (object, "state", error) : NULL;

  if (state == NULL)
    return NULL;
  if (!g_uuid_string_is_valid (uuid)) {
    g_set_error_literal (error, LIBVIRT_ERROR, LIBVIRT_ERROR_FAILED, "a domain has no valid UUID");
    return NULL;
  }
  domain->name = g_strdup (name);
  domain->uuid = g_strdup (uuid);
  domain->state = g_strdup (state);
  domain->id = (int)json_get_uint64_or (object, "id", 0);
  domain->reason = g_strdup (json_get_string_or (object, "reason", NULL));
  domain->qemu.pid = (pid_t)json_get_uint64_or (object, "pid", 0);
  domain->qemu.start_ticks = json_get_uint64_or (object, "start_ticks", 0);
  domain->persistent = json_get_bool_or (object, "persistent", FALSE);
  domain->autostart = json_get_bool_or (object, "autostart", FALSE);
  domain->type = g_strdup (json_get_string_or (object, "type", ""));
  domain->memory = json_get_uint64_or (object, "memory", 0);
  domain->cpus = (guint)json_get_uint64_or (object, "cpus", 0);
  domain->job = g_strdup (json_get_string_or (object, "job", NULL));
  return g_steal_pointer (&domain);
}

GPtrArray *
libvirt_link_list (LibvirtLink *link, GCancellable *cancellable, GError **error)
{
  g_autoptr (JsonObject) answer =
      libvirt_link_ask (link, "list", NULL, -1, 0, NULL, NULL, cancellable, error);
  JsonArray *array = answer != NULL ? json_get_array (answer, "domains", error) : NULL;
  g_autoptr (GPtrArray) domains =
      g_ptr_array_new_with_free_func ((GDestroyNotify)libvirt_domain_free);

  if (array == NULL)
    return NULL;
  for (guint i = 0; i < json_array_get_length (array); i++) {
    JsonNode *node = json_array_get_element (array, i);
    LibvirtDomain *domain = NULL;
    if (JSON_NODE_HOLDS_OBJECT (node))
      domain = libvirt_domain_from_json (json_node_get_object (node), error);
    else
      g_set_error_literal (error, LIBVIRT_ERROR, LIBVIRT_ERROR_FAILED,
                           "the list of domains holds something else");
    if (domain == NULL)
      return NULL;
    g_ptr_array_add (domains, domain);
  }
  return g_steal_pointer (&domains);
}

void
libvirt_description_free (LibvirtDescription *description)
{
  g_clear_pointer (&description->domain, libvirt_domain_free);
  g_free (description->host);
  g_free (description->xml);
  g_free (description->live_xml);
  g_free (description->inactive_xml);
  g_free (description);
}

static JsonObject *
make_arguments (const char *domain)
{
  JsonObject *arguments = json_object_new();

  json_object_set_string_member (arguments, "domain", domain);
  return arguments;
}

LibvirtDescription *
libvirt_link_describe (LibvirtLink *link, const char *domain, GCancellable *cancellable,
                       GError **error)
{
  g_autoptr (JsonObject) arguments = make_arguments (domain);
  g_autoptr (JsonObject) answer =
      libvirt_link_ask (link, "describe", arguments, -1, 0, NULL, NULL, cancellable, error);
  g_autoptr (LibvirtDescription) description = g_new0 (LibvirtDescription, 1);
  JsonObject *object = answer != NULL ? json_get_object (answer, "domain", error) : NULL;
  const char *xml = object != NULL ? json_get_string (answer, "xml", error) : NULL;

  if (xml == NULL || (description->domain = libvirt_domain_from_json (object, error)) == NULL)
    return NULL;
  description->xml = g_strdup (xml);
  description->live_xml = g_strdup (json_get_string_or (answer, "live_xml", xml));
  description->inactive_xml = g_strdup (json_get_string_or (answer, "inactive_xml", NULL));
  description->host = g_strdup (json_get_string_or (answer, "host", ""));
  description->version = (guint)json_get_uint64_or (answer, "version", 0);
  return g_steal_pointer (&description);
}

gboolean
libvirt_link_command (LibvirtLink *link, const char *request, const char *domain,
                      GCancellable *cancellable, GError **error)
{
  g_autoptr (JsonObject) arguments = make_arguments (domain);
  g_autoptr (JsonObject) answer =
      libvirt_link_ask (link, request, arguments, -1, 0, NULL, NULL, cancellable, error);

  return answer != NULL;
}
