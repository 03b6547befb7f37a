/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "work.h"

static const WorkKind kinds[] = {
  { "list", FALSE, FALSE, work_list },
  { "describe", FALSE, FALSE, work_describe },
  { "job-info", FALSE, FALSE, work_job_info },
  { "capabilities", FALSE, FALSE, work_capabilities },
  { "destroy", TRUE, FALSE, work_destroy },
  { "shutdown", TRUE, FALSE, work_shutdown },
  { "suspend", TRUE, FALSE, work_suspend },
  { "resume", TRUE, FALSE, work_resume },
  { "define", TRUE, FALSE, work_define },
  { "undefine", TRUE, FALSE, work_undefine },
  { "start", TRUE, FALSE, work_start },
  { "compare-cpu", FALSE, FALSE, work_compare_cpu },
  { "restore", TRUE, TRUE, work_restore },
  { "open-console", TRUE, TRUE, work_open_console },
  { "migrate", TRUE, FALSE, work_migrate },
  { "migrate-postcopy", TRUE, FALSE, work_migrate_postcopy },
  { "abort-job", TRUE, FALSE, work_abort_job },
  { "configuration", FALSE, FALSE, work_configuration },
  { "reconfigure", TRUE, FALSE, work_reconfigure },
};

const WorkKind *
work_find (const char *name)
{
  for (gsize i = 0; i < G_N_ELEMENTS (kinds); i++)
    if (g_str_equal (kinds[i].name, name))
      return &kinds[i];
  return NULL;
}

void
work_free (Work *work)
{
  fd_close (&work->fd);
  request_free (work->request);
  g_object_unref (work->cancellable);
  g_free (work);
}

static void
say (Work *work, const char *member, JsonObject *object)
{
  g_autoptr (JsonObject) line = json_object_new();

  json_object_set_int_member (line, "id", (gint64)work->request->id);
  json_object_set_object_member (line, member, object);
  work->say (line, work->user_data);
}

static void
say_error (Work *work, const GError *error)
{
  JsonObject *object = json_object_new();

  json_object_set_int_member (object, "code",
                              error->domain == LIBVIRT_ERROR ? error->code : LIBVIRT_ERROR_FAILED);
  json_object_set_string_member (object, "message", error->message);
  say (work, "error", object);
}

void
work_progress (Work *work, JsonObject *progress)
{
  say (work, "progress", progress);
}

static JsonObject *
carry_out (Work *work, GError **error)
{
  const WorkKind *kind = work_find (work->request->name);

  if (kind == NULL || kind->takes_fd != (work->fd >= 0)) {
    g_set_error (error, LIBVIRT_ERROR, LIBVIRT_ERROR_USAGE,
                 kind == NULL     ? "there is no request '%s'"
                 : kind->takes_fd ? "'%s' needs a descriptor"
                                  : "'%s' takes no descriptor",
                 work->request->name);
    return NULL;
  }
  work->conn = host_connect (work->host, error);
  if (work->conn == NULL)
    return NULL;
  JsonObject *result = NULL;
  if (kind->writes && host_read_only (work->host))
    g_set_error (error, LIBVIRT_ERROR, LIBVIRT_ERROR_REFUSED,
                 "the connection to %s is for reading only: a domain is worked on by the vmckpt of "
                 "its own host, as a user who may manage it",
                 host_uri (work->host));
  else
    result = kind->run (work, error);
  virConnectClose (g_steal_pointer (&work->conn));
  return result;
}

void
work_run (Work *work)
{
  g_autoptr (GError) error = NULL;
  JsonObject *result = carry_out (work, &error);

  if (result != NULL)
    say (work, "result", result);
  else
    say_error (work, error);
}

gpointer
work_error (Work *work, GError **error)
{
  host_set_error (work->conn, error);
  return NULL;
}

virDomainPtr
work_domain (Work *work, GError **error)
{
  const char *name = request_text (work->request, "domain", error);
  virDomainPtr domain;

  if (name == NULL)
    return NULL;
  domain = g_uuid_string_is_valid (name) ? virDomainLookupByUUIDString (work->conn, name)
                                         : virDomainLookupByName (work->conn, name);
  if (domain == NULL)
    return work_error (work, error);
  return domain;
}
