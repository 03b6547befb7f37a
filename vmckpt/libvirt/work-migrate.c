/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libvirt's own migration of a domain to another libvirt. */
#include "work.h"

#include <vmckpt/util/json.h>

#define PROGRESS_MS 200
#define CONNECTIONS_MAX 16

/* ---- What is asked for ---- */

typedef struct {
  const char *member;
  guint flag;
} Switch;

static const Switch switches[] = {
  { "postcopy", VIR_MIGRATE_POSTCOPY },
  { "auto_converge", VIR_MIGRATE_AUTO_CONVERGE },
  { "tunnelled", VIR_MIGRATE_TUNNELLED },
  { "tls", VIR_MIGRATE_TLS },
  { "copy_storage", VIR_MIGRATE_NON_SHARED_DISK },
  { "persist", VIR_MIGRATE_PERSIST_DEST },
  { "undefine_source", VIR_MIGRATE_UNDEFINE_SOURCE },
  { "unsafe", VIR_MIGRATE_UNSAFE },
  { "compressed", VIR_MIGRATE_COMPRESSED },
  { "abort_on_error", VIR_MIGRATE_ABORT_ON_ERROR },
};

typedef struct {
  const char *member;
  const char *parameter;
} Text;

static const Text texts[] = {
  { "migrate_uri", VIR_MIGRATE_PARAM_URI },
  { "name", VIR_MIGRATE_PARAM_DEST_NAME },
  { "xml", VIR_MIGRATE_PARAM_DEST_XML },
  { "persist_xml", VIR_MIGRATE_PARAM_PERSIST_XML },
  { "listen", VIR_MIGRATE_PARAM_LISTEN_ADDRESS },
  { "disks_uri", VIR_MIGRATE_PARAM_DISKS_URI },
  { "tls_name", VIR_MIGRATE_PARAM_TLS_DESTINATION },
};

/* libvirt's parameters; frees itself. */
typedef struct {
  virTypedParameterPtr array;
  int n, room;
  guint flags;
} Parameters;

static void
parameters_clear (Parameters *params)
{
  virTypedParamsFree (params->array, params->n);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Parameters, parameters_clear)

static void
read_disks (JsonObject *members, Parameters *params)
{
  JsonArray *disks = json_get_array (members, "disks", NULL);

  for (guint i = 0; disks != NULL && i < json_array_get_length (disks); i++) {
    const char *disk = json_array_string_or_null (disks, i);
    if (disk != NULL)
      virTypedParamsAddString (&params->array, &params->n, &params->room,
                               VIR_MIGRATE_PARAM_MIGRATE_DISKS, disk);
  }
}

static void
read_parameters (JsonObject *members, Parameters *params)
{
  guint64 bandwidth = json_get_uint64_or (members, "bandwidth_mib", 0);
  guint64 connections = json_get_uint64_or (members, "connections", 0);

  params->flags = VIR_MIGRATE_LIVE;
  if (json_get_bool_or (members, "p2p", TRUE))
    params->flags |= VIR_MIGRATE_PEER2PEER;
  for (gsize i = 0; i < G_N_ELEMENTS (switches); i++)
    if (json_get_bool_or (members, switches[i].member, FALSE))
      params->flags |= switches[i].flag;
  for (gsize i = 0; i < G_N_ELEMENTS (texts); i++) {
    const char *text = json_get_string_or (members, texts[i].member, NULL);
    if (text != NULL)
      virTypedParamsAddString (&params->array, &params->n, &params->room, texts[i].parameter, text);
  }
  if (bandwidth > 0)
    virTypedParamsAddULLong (&params->array, &params->n, &params->room, VIR_MIGRATE_PARAM_BANDWIDTH,
                             bandwidth);
  if (connections > 1) {
    params->flags |= VIR_MIGRATE_PARALLEL;
    virTypedParamsAddInt (&params->array, &params->n, &params->room,
                          VIR_MIGRATE_PARAM_PARALLEL_CONNECTIONS,
                          (int)MIN (connections, CONNECTIONS_MAX));
  }
  read_disks (members, params);
}

/* ---- What is told meanwhile ---- */

typedef struct {
  Work *work;
  virDomainPtr domain;
  gboolean postcopy_after_round; /* begun when memory was sent once */
  GMutex lock;
  GCond changed;
  gboolean over; /* guarded by lock */
} Progress;

static void
tell (Progress *progress)
{
  JsonObject *job = work_job_object (progress->domain, FALSE);
  JsonObject *stats = job != NULL ? json_get_object (job, "stats", NULL) : NULL;

  if (job == NULL)
    return;
  if (progress->postcopy_after_round &&
      json_get_uint64_or (stats, VIR_DOMAIN_JOB_MEMORY_ITERATION, 0) > 1)
    progress->postcopy_after_round = virDomainMigrateStartPostCopy (progress->domain, 0) < 0;
  work_progress (progress->work, job);
}

static gpointer
tell_progress (gpointer data)
{
  Progress *progress = data;

  g_mutex_lock (&progress->lock);
  while (!progress->over) {
    gint64 next_us = g_get_monotonic_time() + PROGRESS_MS * 1000L;
    if (g_cond_wait_until (&progress->changed, &progress->lock, next_us))
      continue;
    g_mutex_unlock (&progress->lock);
    tell (progress);
    g_mutex_lock (&progress->lock);
  }
  g_mutex_unlock (&progress->lock);
  return NULL;
}

static void
end_progress (Progress *progress, GThread *thread)
{
  g_mutex_lock (&progress->lock);
  progress->over = TRUE;
  g_cond_signal (&progress->changed);
  g_mutex_unlock (&progress->lock);
  g_thread_join (thread);
  g_mutex_clear (&progress->lock);
  g_cond_clear (&progress->changed);
}

/* ---- The migration ---- */

static void
abort_job (GCancellable *cancellable, gpointer domain)
{
  virDomainAbortJob (domain);
}

static gboolean
migrate_direct (Work *work, virDomainPtr domain, const char *uri, Parameters *params,
                GError **error)
{
  virConnectPtr there = virConnectOpen (uri);
  virDomainPtr moved;

  if (there == NULL)
    return host_set_error (NULL, error);
  moved = virDomainMigrate3 (domain, there, params->array, params->n, params->flags);
  if (moved == NULL)
    host_set_error (work->conn, error);
  else
    virDomainFree (moved);
  virConnectClose (there);
  return moved != NULL;
}

static gboolean
migrate (Work *work, virDomainPtr domain, const char *uri, Parameters *params, GError **error)
{
  if (!(params->flags & VIR_MIGRATE_PEER2PEER))
    return migrate_direct (work, domain, uri, params, error);
  if (virDomainMigrateToURI3 (domain, uri, params->array, params->n, params->flags) < 0)
    return host_set_error (work->conn, error);
  return TRUE;
}

JsonObject *
work_migrate (Work *work, GError **error)
{
  JsonObject *members = work->request->members;
  const char *uri = request_text (work->request, "uri", error);
  g_autoptr (virDomain) domain = uri != NULL ? work_domain (work, error) : NULL;
  g_auto (Parameters) params = { 0 };
  Progress progress = { .work = work, .domain = domain };
  gboolean done;

  if (domain == NULL)
    return NULL;
  read_parameters (members, &params);
  progress.postcopy_after_round = (params.flags & VIR_MIGRATE_POSTCOPY) &&
                                  json_get_bool_or (members, "postcopy_after_round", FALSE);
  g_mutex_init (&progress.lock);
  g_cond_init (&progress.changed);
  GThread *teller = g_thread_new ("progress", tell_progress, &progress);
  gulong handler = g_cancellable_connect (work->cancellable, G_CALLBACK (abort_job), domain, NULL);
  done = migrate (work, domain, uri, &params, error);
  g_cancellable_disconnect (work->cancellable, handler);
  end_progress (&progress, teller);
  if (!done)
    return NULL;
  JsonObject *result = json_object_new();
  JsonObject *job = work_job_object (domain, TRUE);
  if (job != NULL)
    json_object_set_object_member (result, "job", job);
  return result;
}

JsonObject *
work_migrate_postcopy (Work *work, GError **error)
{
  g_autoptr (virDomain) domain = work_domain (work, error);

  if (domain == NULL)
    return NULL;
  return virDomainMigrateStartPostCopy (domain, 0) < 0 ? work_error (work, error)
                                                       : json_object_new();
}

JsonObject *
work_abort_job (Work *work, GError **error)
{
  g_autoptr (virDomain) domain = work_domain (work, error);

  if (domain == NULL)
    return NULL;
  return virDomainAbortJob (domain) < 0 ? work_error (work, error) : json_object_new();
}
