/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What changes a domain's state, and definitions. */
#include "work.h"

#include <vmckpt/util/json.h>

#include <libvirt/virterror.h>

/* Runs @change on the request's domain: less than 0 is a failure. */
static JsonObject *
change_domain (Work *work, int (*change) (virDomainPtr domain), GError **error)
{
  g_autoptr (virDomain) domain = work_domain (work, error);

  if (domain == NULL)
    return NULL;
  return change (domain) < 0 ? work_error (work, error) : json_object_new();
}

JsonObject *
work_destroy (Work *work, GError **error)
{
  return change_domain (work, virDomainDestroy, error);
}

JsonObject *
work_suspend (Work *work, GError **error)
{
  return change_domain (work, virDomainSuspend, error);
}

JsonObject *
work_resume (Work *work, GError **error)
{
  return change_domain (work, virDomainResume, error);
}

/* The domain's power button, or its agent; it may take its time, or not listen. */
JsonObject *
work_shutdown (Work *work, GError **error)
{
  const char *mode = json_get_string_or (work->request->members, "mode", "");
  g_autoptr (virDomain) domain = work_domain (work, error);
  guint flags = g_str_equal (mode, "agent")  ? VIR_DOMAIN_SHUTDOWN_GUEST_AGENT
                : g_str_equal (mode, "acpi") ? VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN
                                             : VIR_DOMAIN_SHUTDOWN_DEFAULT;

  if (domain == NULL)
    return NULL;
  return virDomainShutdownFlags (domain, flags) < 0 ? work_error (work, error) : json_object_new();
}

/* What a domain of the definition keeps besides stays: saved states, snapshots, variables of its
 * firmware. libvirt refuses if it would lose one of the former. */
static int
undefine (virDomainPtr domain)
{
  int result = virDomainUndefineFlags (domain, VIR_DOMAIN_UNDEFINE_KEEP_NVRAM);

  /* Some of libvirt's drivers know no such variables, and refuse the flag. */
  if (result < 0 && virGetLastErrorCode() == VIR_ERR_INVALID_ARG)
    result = virDomainUndefine (domain);
  return result;
}

JsonObject *
work_undefine (Work *work, GError **error)
{
  return change_domain (work, undefine, error);
}

static JsonObject *
describe_new (virDomainPtr domain)
{
  JsonObject *result = json_object_new();
  char uuid[VIR_UUID_STRING_BUFLEN];

  json_object_set_string_member (result, "name", virDomainGetName (domain));
  if (virDomainGetUUIDString (domain, uuid) == 0)
    json_object_set_string_member (result, "uuid", uuid);
  return result;
}

JsonObject *
work_define (Work *work, GError **error)
{
  const char *xml = request_text (work->request, "xml", error);
  g_autoptr (virDomain) domain = NULL;

  if (xml == NULL)
    return NULL;
  domain = virDomainDefineXMLFlags (work->conn, xml, 0);
  if (domain == NULL || (json_get_bool_or (work->request->members, "autostart", FALSE) &&
                         virDomainSetAutostart (domain, 1) < 0))
    return work_error (work, error);
  return describe_new (domain);
}

/* From "xml", which is gone when it ends, or the definition of "domain". */
JsonObject *
work_start (Work *work, GError **error)
{
  JsonObject *members = work->request->members;
  const char *xml = json_get_string_or (members, "xml", NULL);
  const guint flags =
      json_get_bool_or (members, "paused", FALSE) ? VIR_DOMAIN_START_PAUSED : VIR_DOMAIN_NONE;
  g_autoptr (virDomain) domain = NULL;

  domain = xml != NULL ? virDomainCreateXML (work->conn, xml, flags) : work_domain (work, error);
  if (domain == NULL)
    return xml != NULL ? work_error (work, error) : NULL;
  if (xml == NULL && virDomainCreateWithFlags (domain, flags) < 0)
    return work_error (work, error);
  return describe_new (domain);
}
