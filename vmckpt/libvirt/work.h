/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Requests and who carries them out: each in a thread of its own, and one file per group. */
#pragma once

#include "host.h"
#include "link-request.h"

#include <vmckpt/util/fd.h>

typedef struct _Work Work;

/* Writes a line to whoever asks; any thread. */
typedef void (*WorkSayFunc) (JsonObject *line, gpointer user_data);

/* One request that is under way. */
struct _Work {
  Host *host;
  virConnectPtr conn; /* while it is carried out */
  Request *request;
  AutoFd fd; /* that came with it, or -1 */
  WorkSayFunc say;
  gpointer user_data;
  GCancellable *cancellable; /* cancelled when the asker wants no more of it, or is gone */
};

/* What there is. */
typedef struct {
  const char *name;
  gboolean writes;   /* not for a connection that is for reading only */
  gboolean takes_fd; /* needs a descriptor */
  JsonObject *(*run) (Work *work, GError **error);
} WorkKind;

/* Its kind, or NULL. */
const WorkKind *work_find (const char *name);

/* Carries out and answers. */
void work_run (Work *work);
void work_free (Work *work);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Work, work_free)

/* For those who carry out: tells something before the answer; @progress: (transfer full). */
void work_progress (Work *work, JsonObject *progress);

/* The request's member "domain", a UUID or a name; NULL with @error. */
virDomainPtr work_domain (Work *work, GError **error);

/* host_set_error() on the work's connection; returns NULL. */
gpointer work_error (Work *work, GError **error);

/* ---- work-list.c: what there is ---- */
JsonObject *work_list (Work *work, GError **error);
JsonObject *work_describe (Work *work, GError **error);
JsonObject *work_job_info (Work *work, GError **error);
JsonObject *work_capabilities (Work *work, GError **error);
/* libvirt's job of a domain, "job-info"'s answer; NULL with libvirt's own error. */
JsonObject *work_job_object (virDomainPtr domain, gboolean completed);

/* ---- work-restore.c: domains from save images ---- */
JsonObject *work_restore (Work *work, GError **error);
JsonObject *work_compare_cpu (Work *work, GError **error);

/* ---- work-change.c: states and definitions ---- */
JsonObject *work_destroy (Work *work, GError **error);
JsonObject *work_shutdown (Work *work, GError **error);
JsonObject *work_suspend (Work *work, GError **error);
JsonObject *work_resume (Work *work, GError **error);
JsonObject *work_define (Work *work, GError **error);
JsonObject *work_undefine (Work *work, GError **error);
JsonObject *work_start (Work *work, GError **error);
/* ---- work-console.c ---- */
JsonObject *work_open_console (Work *work, GError **error);
/* ---- work-migrate.c ---- */
JsonObject *work_migrate (Work *work, GError **error);
JsonObject *work_migrate_postcopy (Work *work, GError **error);
JsonObject *work_abort_job (Work *work, GError **error);
/* ---- work-configuration.c: what a domain's next start is made from ---- */
JsonObject *work_configuration (Work *work, GError **error);
JsonObject *work_reconfigure (Work *work, GError **error);
