/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What there is: domains, one of them, its job, the host. Changes nothing. */
#include "domain-pid.h"
#include "work.h"

#include <vmckpt/util/json.h>

#include <stdlib.h>
#include <string.h>

#define UUID_TEXT 37 /* VIR_UUID_STRING_BUFLEN */

static const char *const states[] = {
  [VIR_DOMAIN_NOSTATE] = "unknown",   [VIR_DOMAIN_RUNNING] = "running",
  [VIR_DOMAIN_BLOCKED] = "blocked",   [VIR_DOMAIN_PAUSED] = "paused",
  [VIR_DOMAIN_SHUTDOWN] = "shutdown", [VIR_DOMAIN_SHUTOFF] = "shutoff",
  [VIR_DOMAIN_CRASHED] = "crashed",   [VIR_DOMAIN_PMSUSPENDED] = "pmsuspended",
};

static const char *const paused_reasons[] = {
  [VIR_DOMAIN_PAUSED_UNKNOWN] = "unknown",
  [VIR_DOMAIN_PAUSED_USER] = "user",
  [VIR_DOMAIN_PAUSED_MIGRATION] = "migration",
  [VIR_DOMAIN_PAUSED_SAVE] = "save",
  [VIR_DOMAIN_PAUSED_DUMP] = "dump",
  [VIR_DOMAIN_PAUSED_IOERROR] = "io-error",
  [VIR_DOMAIN_PAUSED_WATCHDOG] = "watchdog",
  [VIR_DOMAIN_PAUSED_FROM_SNAPSHOT] = "from-snapshot",
  [VIR_DOMAIN_PAUSED_SHUTTING_DOWN] = "shutting-down",
  [VIR_DOMAIN_PAUSED_SNAPSHOT] = "snapshot",
  [VIR_DOMAIN_PAUSED_CRASHED] = "crashed",
  [VIR_DOMAIN_PAUSED_STARTING_UP] = "starting-up",
  [VIR_DOMAIN_PAUSED_POSTCOPY] = "postcopy",
  [VIR_DOMAIN_PAUSED_POSTCOPY_FAILED] = "postcopy-failed",
};

static const char *const operations[] = {
  [VIR_DOMAIN_JOB_OPERATION_UNKNOWN] = "unknown",
  [VIR_DOMAIN_JOB_OPERATION_START] = "start",
  [VIR_DOMAIN_JOB_OPERATION_SAVE] = "save",
  [VIR_DOMAIN_JOB_OPERATION_RESTORE] = "restore",
  [VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN] = "migration-in",
  [VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT] = "migration-out",
  [VIR_DOMAIN_JOB_OPERATION_SNAPSHOT] = "snapshot",
  [VIR_DOMAIN_JOB_OPERATION_SNAPSHOT_REVERT] = "snapshot-revert",
  [VIR_DOMAIN_JOB_OPERATION_DUMP] = "dump",
  [VIR_DOMAIN_JOB_OPERATION_BACKUP] = "backup",
  [VIR_DOMAIN_JOB_OPERATION_SNAPSHOT_DELETE] = "snapshot-delete",
};

#define NAME_OF(table, n)                                                                          \
  ((n) >= 0 && (gsize)(n) < G_N_ELEMENTS (table) && (table)[n] != NULL ? (table)[n] : "unknown")

/* ---- Jobs ---- */

/* The job's operation, or NULL if none is under way; asks without waiting for a lock of the domain
 * where there is none. */
static const char *
find_job (virDomainPtr domain)
{
  virDomainControlInfo control;
  virTypedParameterPtr params = NULL;
  int n = 0, type = VIR_DOMAIN_JOB_NONE, operation = VIR_DOMAIN_JOB_OPERATION_UNKNOWN;

  if (virDomainGetControlInfo (domain, &control, 0) < 0 ||
      control.state != VIR_DOMAIN_CONTROL_JOB ||
      virDomainGetJobStats (domain, &type, &params, &n, 0) < 0)
    return NULL;
  virTypedParamsGetInt (params, n, VIR_DOMAIN_JOB_OPERATION, &operation);
  virTypedParamsFree (params, n);
  return type == VIR_DOMAIN_JOB_NONE ? NULL : NAME_OF (operations, operation);
}

/* A parameter of whatever type as a JSON member; negative numbers are of no use here. */
static void
add_parameter (JsonObject *object, const virTypedParameter *param)
{
  switch (param->type) {
  case VIR_TYPED_PARAM_INT:
    json_object_set_int_member (object, param->field, param->value.i);
    break;
  case VIR_TYPED_PARAM_UINT:
    json_object_set_int_member (object, param->field, param->value.ui);
    break;
  case VIR_TYPED_PARAM_LLONG:
    json_object_set_int_member (object, param->field, param->value.l);
    break;
  case VIR_TYPED_PARAM_ULLONG:
    json_object_set_int_member (object, param->field,
                                (gint64)MIN (param->value.ul, (guint64)G_MAXINT64));
    break;
  case VIR_TYPED_PARAM_BOOLEAN:
    json_object_set_boolean_member (object, param->field, param->value.b);
    break;
  case VIR_TYPED_PARAM_STRING:
    json_object_set_string_member (object, param->field, param->value.s);
    break;
  default:
    break;
  }
}

JsonObject *
work_job_object (virDomainPtr domain, gboolean completed)
{
  static const char *const types[] = {
    [VIR_DOMAIN_JOB_NONE] = "none",           [VIR_DOMAIN_JOB_BOUNDED] = "bounded",
    [VIR_DOMAIN_JOB_UNBOUNDED] = "unbounded", [VIR_DOMAIN_JOB_COMPLETED] = "completed",
    [VIR_DOMAIN_JOB_FAILED] = "failed",       [VIR_DOMAIN_JOB_CANCELLED] = "cancelled",
  };
  virTypedParameterPtr params = NULL;
  int n = 0, type = VIR_DOMAIN_JOB_NONE, operation = VIR_DOMAIN_JOB_OPERATION_UNKNOWN;

  if (virDomainGetJobStats (
          domain, &type, &params, &n,
          completed ? VIR_DOMAIN_JOB_STATS_COMPLETED | VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED : 0) < 0)
    return NULL;
  JsonObject *object = json_object_new();
  JsonObject *stats = json_object_new();
  for (int i = 0; i < n; i++)
    add_parameter (stats, &params[i]);
  virTypedParamsGetInt (params, n, VIR_DOMAIN_JOB_OPERATION, &operation);
  virTypedParamsFree (params, n);
  json_object_set_string_member (object, "type", NAME_OF (types, type));
  json_set_string_or_null (object, "operation",
                           type == VIR_DOMAIN_JOB_NONE ? NULL : NAME_OF (operations, operation));
  json_object_set_object_member (object, "stats", stats);
  return object;
}

JsonObject *
work_job_info (Work *work, GError **error)
{
  g_autoptr (virDomain) domain = work_domain (work, error);
  JsonObject *object;

  if (domain == NULL)
    return NULL;
  object = work_job_object (domain, json_get_bool_or (work->request->members, "completed", FALSE));
  return object != NULL ? object : work_error (work, error);
}

/* ---- Domains ---- */

/* "qemu" or "kvm", of what libvirt says of a domain; newly allocated. */
static char *
type_of_xml (const char *xml)
{
  static const char start[] = "<domain type='";
  const char *at = strstr (xml, start);
  gsize len = at != NULL ? strcspn (at + strlen (start), "'\"<>&") : 0;

  return at != NULL && len <= 16 ? g_strndup (at + strlen (start), len) : g_strdup ("");
}

/* libvirt's daemon, if it is on this host. */
static ProcessId
find_manager (Work *work)
{
  g_autofree char *socket = domain_pid_socket_of_uri (host_uri (work->host));

  return socket != NULL ? domain_pid_of_listener (socket) : (ProcessId){ 0 };
}

static void
add_process (JsonObject *object, const char *name, const char *uuid, const ProcessId *manager)
{
  ProcessId qemu = manager->pid > 0 ? domain_pid_find (name, uuid, manager) : (ProcessId){ 0 };

  if (qemu.pid == 0)
    return;
  json_object_set_int_member (object, "pid", qemu.pid);
  json_object_set_int_member (object, "start_ticks", (gint64)qemu.start_ticks);
}

/* One that runs; NULL if it has ended meanwhile. @xml: of it, as it runs. */
static JsonObject *
make_domain (virDomainPtr domain, const char *xml, const ProcessId *manager)
{
  char uuid[UUID_TEXT];
  int state, reason, autostart = 0;
  virDomainInfo info;
  guint id = virDomainGetID (domain);

  if (virDomainGetState (domain, &state, &reason, 0) < 0 || virDomainGetInfo (domain, &info) < 0 ||
      virDomainGetUUIDString (domain, uuid) < 0 || id == (guint)-1 || state == VIR_DOMAIN_SHUTOFF)
    return NULL;
  JsonObject *object = json_object_new();
  g_autofree char *type = type_of_xml (xml);
  gboolean persistent = virDomainIsPersistent (domain) == 1;
  json_object_set_string_member (object, "name", virDomainGetName (domain));
  json_object_set_string_member (object, "uuid", uuid);
  json_object_set_int_member (object, "id", id);
  json_object_set_string_member (object, "state", NAME_OF (states, state));
  json_set_string_or_null (object, "reason",
                           state == VIR_DOMAIN_PAUSED ? NAME_OF (paused_reasons, reason) : NULL);
  json_object_set_boolean_member (object, "persistent", persistent);
  json_object_set_boolean_member (object, "autostart",
                                  persistent && virDomainGetAutostart (domain, &autostart) == 0 &&
                                      autostart);
  json_object_set_string_member (object, "type", type);
  json_object_set_int_member (object, "memory", (gint64)info.maxMem * 1024);
  json_object_set_int_member (object, "cpus", info.nrVirtCpu);
  json_set_string_or_null (object, "job", find_job (domain));
  add_process (object, virDomainGetName (domain), uuid, manager);
  return object;
}

JsonObject *
work_list (Work *work, GError **error)
{
  virDomainPtr *domains = NULL;
  int n = virConnectListAllDomains (work->conn, &domains, VIR_CONNECT_LIST_DOMAINS_ACTIVE);
  ProcessId manager = find_manager (work);
  JsonArray *array;

  if (n < 0)
    return work_error (work, error);
  array = json_array_new();
  for (int i = 0; i < n; i++) {
    char *xml = virDomainGetXMLDesc (domains[i], 0);
    JsonObject *object = xml != NULL ? make_domain (domains[i], xml, &manager) : NULL;
    if (object != NULL)
      json_array_add_object_element (array, object);
    free (xml);
    virDomainFree (domains[i]);
  }
  free (domains);
  JsonObject *result = json_object_new();
  json_object_set_array_member (result, "domains", array);
  json_object_set_boolean_member (result, "read_only", host_read_only (work->host));
  return result;
}

/* What the next start is made from; null of one that is gone with its end. */
static void
add_inactive (Work *work, JsonObject *result, virDomainPtr domain)
{
  guint secure = host_read_only (work->host) ? 0 : VIR_DOMAIN_XML_SECURE;
  char *xml = virDomainIsPersistent (domain) == 1
                  ? virDomainGetXMLDesc (domain, VIR_DOMAIN_XML_INACTIVE | secure)
                  : NULL;

  json_set_string_or_null (result, "inactive_xml", xml);
  free (xml);
}

JsonObject *
work_describe (Work *work, GError **error)
{
  g_autoptr (virDomain) domain = work_domain (work, error);
  gboolean full = !host_read_only (work->host);
  ProcessId manager = find_manager (work);
  unsigned long version = 0;
  char *xml, *host;

  if (domain == NULL)
    return NULL;
  xml = virDomainGetXMLDesc (domain, full ? VIR_DOMAIN_XML_MIGRATABLE | VIR_DOMAIN_XML_SECURE : 0);
  if (xml == NULL)
    return work_error (work, error);
  JsonObject *object = make_domain (domain, xml, &manager);
  if (object == NULL) {
    g_set_error (error, LIBVIRT_ERROR, LIBVIRT_ERROR_NOT_FOUND, "domain '%s' does not run",
                 virDomainGetName (domain));
    free (xml);
    return NULL;
  }
  JsonObject *result = json_object_new();
  json_object_set_object_member (result, "domain", object);
  json_object_set_string_member (result, "xml", xml);
  add_inactive (work, result, domain);
  free (xml);
  /* Addresses that libvirt has given, aliases, labels: not in what is migratable. */
  xml = virDomainGetXMLDesc (domain, full ? VIR_DOMAIN_XML_SECURE : 0);
  json_set_string_or_null (result, "live_xml", xml);
  free (xml);
  host = virConnectGetHostname (work->conn);
  json_set_string_or_null (result, "host", host);
  free (host);
  virConnectGetLibVersion (work->conn, &version);
  json_object_set_int_member (result, "version", (gint64)version);
  json_object_set_boolean_member (result, "read_only", !full);
  return result;
}

JsonObject *
work_capabilities (Work *work, GError **error)
{
  char *xml = virConnectGetCapabilities (work->conn);
  const char *type = virConnectGetType (work->conn);

  if (xml == NULL)
    return work_error (work, error);
  JsonObject *result = json_object_new();
  json_object_set_string_member (result, "xml", xml);
  json_set_string_or_null (result, "type", type);
  free (xml);
  return result;
}
