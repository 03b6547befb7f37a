/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a domain's next start is made from, and changing that without losing what others change. */
#include "domain-pid.h"
#include "work.h"

#include <vmckpt/util/json.h>

#include <stdlib.h>

/* (nullable), to be freed: NULL with libvirt's own error, or for a domain without one. */
static char *
read_inactive (Work *work, virDomainPtr domain)
{
  guint secure = host_read_only (work->host) ? 0 : VIR_DOMAIN_XML_SECURE;

  return virDomainGetXMLDesc (domain, VIR_DOMAIN_XML_INACTIVE | secure);
}

/* The user of QEMUs whose description names none: "+64055:+103". */
static void
add_default_label (Work *work, JsonObject *result)
{
  char *xml = virConnectGetCapabilities (work->conn);

  json_set_string_or_null (result, "capabilities", xml);
  free (xml);
}

static void
add_running (Work *work, JsonObject *result, virDomainPtr domain)
{
  char uuid[VIR_UUID_STRING_BUFLEN];
  g_autofree char *socket = domain_pid_socket_of_uri (host_uri (work->host));
  ProcessId manager = socket != NULL ? domain_pid_of_listener (socket) : (ProcessId){ 0 };
  gboolean active = virDomainIsActive (domain) == 1;
  char *live = active ? virDomainGetXMLDesc (domain, 0) : NULL;

  json_object_set_boolean_member (result, "running", live != NULL);
  json_set_string_or_null (result, "live_xml", live);
  free (live);
  if (virDomainGetUUIDString (domain, uuid) < 0)
    return;
  json_object_set_string_member (result, "uuid", uuid);
  if (active && manager.pid > 0)
    json_object_set_int_member (result, "pid",
                                domain_pid_find (virDomainGetName (domain), uuid, &manager).pid);
}

JsonObject *
work_configuration (Work *work, GError **error)
{
  g_autoptr (virDomain) domain = work_domain (work, error);
  gboolean persistent = domain != NULL && virDomainIsPersistent (domain) == 1;
  char *inactive = persistent ? read_inactive (work, domain) : NULL;

  if (domain == NULL)
    return NULL;
  if (persistent && inactive == NULL)
    return work_error (work, error);
  JsonObject *result = json_object_new();
  json_object_set_string_member (result, "name", virDomainGetName (domain));
  json_set_string_or_null (result, "inactive_xml", inactive);
  free (inactive);
  add_running (work, result, domain);
  add_default_label (work, result);
  return result;
}

/* libvirt has no "only if it is still so": what is between looking and defining is microseconds. */
static gboolean
check_same (Work *work, virDomainPtr domain, const char *was, GError **error)
{
  char *now = read_inactive (work, domain);
  gboolean same = now != NULL && g_str_equal (now, was);

  if (now == NULL)
    work_error (work, error);
  else if (!same)
    g_set_error (error, LIBVIRT_ERROR, LIBVIRT_ERROR_BUSY,
                 "the description of domain '%s' was changed meanwhile by somebody else: nothing "
                 "was done; try again",
                 virDomainGetName (domain));
  free (now);
  return same;
}

JsonObject *
work_reconfigure (Work *work, GError **error)
{
  const char *was = request_text (work->request, "was", error);
  const char *xml = was != NULL ? request_text (work->request, "xml", error) : NULL;
  g_autoptr (virDomain) domain = xml != NULL ? work_domain (work, error) : NULL;
  g_autoptr (virDomain) defined = NULL;

  if (domain == NULL || !check_same (work, domain, was, error))
    return NULL;
  defined = virDomainDefineXMLFlags (work->conn, xml, VIR_DOMAIN_DEFINE_VALIDATE);
  if (defined == NULL)
    return work_error (work, error);
  char *now = read_inactive (work, defined);
  if (now == NULL)
    return work_error (work, error);
  JsonObject *result = json_object_new();
  json_object_set_string_member (result, "inactive_xml", now);
  free (now);
  return result;
}
