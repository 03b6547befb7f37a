/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "monitor.h"

#include "domain-pid.h"

#include <vmckpt/libvirt/libvirt-link.h>
#include <vmckpt/util/fd.h>
#include <vmckpt/util/json.h>

#include <fcntl.h>
#include <libvirt/libvirt-qemu.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define JSON_DEPTH 64
#define RECONNECT_MS 200
#define PATIENCE_S 10 /* for libvirt's daemon, before a command fails */
#define PROBE_NAME "vmckpt-probe"

struct _Monitor {
  Host *host;
  char *uuid;
  MonitorEventFunc func;
  gpointer user_data;
  ProcessId qemu;
  AutoFd pidfd;

  GMutex lock; /* guards what follows */
  GCond changed;
  virDomainPtr domain; /* (nullable): on a connection that lived when it was made */
  int registration;    /* of events on it; < 0: none */
};

/* ---- Events ---- */

static JsonObject *
make_event (const char *name, gint64 seconds, guint micros)
{
  JsonObject *event = json_object_new();
  JsonObject *stamp = json_object_new();

  json_object_set_int_member (stamp, "seconds", seconds);
  json_object_set_int_member (stamp, "microseconds", micros);
  json_object_set_object_member (event, "timestamp", stamp);
  json_object_set_string_member (event, "event", name);
  return event;
}

static void
on_event (virConnectPtr conn, virDomainPtr domain, const char *name, long long seconds,
          unsigned int micros, const char *details, void *user_data)
{
  Monitor *monitor = user_data;
  g_autoptr (JsonObject) event = make_event (name, seconds, micros);
  JsonObject *data = details != NULL ? json_parse_bounded (details, strlen (details),
                                                           LIBVIRT_LINE_MAX, JSON_DEPTH, NULL)
                                     : NULL;

  if (data != NULL)
    json_object_set_object_member (event, "data", data);
  monitor->func (event, monitor->user_data);
}

static void
tell_events_lost (Monitor *monitor)
{
  gint64 now_us = g_get_real_time();
  g_autoptr (JsonObject) event =
      make_event ("VMCKPT_EVENTS_LOST", now_us / G_USEC_PER_SEC, now_us % G_USEC_PER_SEC);

  monitor->func (event, monitor->user_data);
}

/* Of two owners: who waits, and libvirt's timer, which may be running when it is removed. */
typedef struct {
  GMutex lock;
  GCond changed;
  guint turns; /* of the event loop still to come */
} Turn;

static void
turn_clear (gpointer data)
{
  Turn *turn = data;

  g_mutex_clear (&turn->lock);
  g_cond_clear (&turn->changed);
}

static void
turn_release (void *turn)
{
  g_atomic_rc_box_release_full (turn, turn_clear);
}

static void
on_turn (int timer, void *user_data)
{
  Turn *turn = user_data;

  g_mutex_lock (&turn->lock);
  if (turn->turns > 0 && --turn->turns == 0)
    g_cond_signal (&turn->changed);
  g_mutex_unlock (&turn->lock);
}

/* Waits for two turns of libvirt's event loop: what had come before the first has been told. */
static void
wait_for_turn (void)
{
  Turn *turn = g_atomic_rc_box_new0 (Turn);
  int timer;

  turn->turns = 2;
  g_mutex_init (&turn->lock);
  g_cond_init (&turn->changed);
  timer = virEventAddTimeout (0, on_turn, g_atomic_rc_box_acquire (turn), turn_release);
  g_mutex_lock (&turn->lock);
  while (timer >= 0 && turn->turns > 0)
    g_cond_wait (&turn->changed, &turn->lock);
  g_mutex_unlock (&turn->lock);
  if (timer >= 0)
    virEventRemoveTimeout (timer);
  turn_release (turn);
}

/*
 * libvirt's daemon sends answers and events on ways of their own, so an event may come after the
 * answer that QEMU sent later. Anything that is asked once more comes behind what it had to tell by
 * then.
 */
static void
wait_for_events (virDomainPtr domain)
{
  unsigned long version;

  virConnectGetLibVersion (virDomainGetConnect (domain), &version);
  wait_for_turn();
}

/* ---- Commands ---- */

static JsonObject *
execute (virDomainPtr domain, const char *command, int fd, GError **error)
{
  guint n_out = 0;
  int *out = NULL;
  char *answer = NULL;
  JsonObject *object = NULL;
  int result;

  if (fd >= 0)
    result = virDomainQemuMonitorCommandWithFiles (domain, command, 1, &fd, &n_out, &out, &answer,
                                                   VIR_DOMAIN_QEMU_MONITOR_COMMAND_DEFAULT);
  else
    result = virDomainQemuMonitorCommand (domain, command, &answer,
                                          VIR_DOMAIN_QEMU_MONITOR_COMMAND_DEFAULT);
  for (guint i = 0; i < n_out; i++)
    close (out[i]);
  free (out);
  if (result < 0)
    host_set_error (virDomainGetConnect (domain), error);
  else
    object = json_parse_bounded (answer, strlen (answer), LIBVIRT_LINE_MAX, JSON_DEPTH, error);
  free (answer);
  return object;
}

static gboolean
only_asks (const char *command)
{
  return strstr (command, "\"execute\":\"query-") != NULL;
}

JsonObject *
monitor_execute (Monitor *monitor, const char *command, int fd, GError **error)
{
  for (guint tries = 0;; tries++) {
    g_autoptr (GError) cause = NULL;
    g_autoptr (virDomain) domain = monitor_domain (monitor, error);
    JsonObject *answer;
    if (domain == NULL)
      return NULL;
    answer = execute (domain, command, fd, &cause);
    if (answer != NULL) {
      wait_for_events (domain);
      return answer;
    }
    if (tries > 0 || !only_asks (command) ||
        !g_error_matches (cause, LIBVIRT_ERROR, LIBVIRT_ERROR_LOST)) {
      g_propagate_error (error, g_steal_pointer (&cause));
      return NULL;
    }
  }
}

/* ---- The connection ---- */

/* Whether @domain's QEMU is the process @qemu: it has open what is passed to it. */
static gboolean
is_qemu (virDomainPtr domain, ProcessId qemu, GError **error)
{
  g_auto (AutoFd) ours = -1;
  g_auto (AutoFd) theirs = -1;
  g_autoptr (JsonObject) given = NULL, taken = NULL;
  int fds[2];

  if (pipe2 (fds, O_CLOEXEC) < 0)
    return fd_set_errno_error (error, "a pipe");
  ours = fds[0];
  theirs = fds[1];
  given = execute (domain, "{\"execute\":\"getfd\",\"arguments\":{\"fdname\":\"" PROBE_NAME "\"}}",
                   theirs, error);
  if (given == NULL)
    return FALSE;
  gboolean same = domain_pid_has_open (qemu, theirs);
  taken = execute (
      domain, "{\"execute\":\"closefd\",\"arguments\":{\"fdname\":\"" PROBE_NAME "\"}}", -1, NULL);
  if (!same)
    g_set_error (error, LIBVIRT_ERROR, LIBVIRT_ERROR_NOT_FOUND,
                 "process %d is not the QEMU of domain '%s', or not for us to look at",
                 (int)qemu.pid, virDomainGetName (domain));
  return same;
}

static void
drop_domain_locked (Monitor *monitor)
{
  if (monitor->domain == NULL)
    return;
  if (monitor->registration >= 0)
    virConnectDomainQemuMonitorEventDeregister (virDomainGetConnect (monitor->domain),
                                                monitor->registration);
  monitor->registration = -1;
  virDomainFree (g_steal_pointer (&monitor->domain));
}

/* Looks the domain up and listens to it. */
static virDomainPtr
find_domain (Monitor *monitor, int *registration, GError **error)
{
  virConnectPtr conn = host_connect (monitor->host, error);
  virDomainPtr domain;

  if (conn == NULL)
    return NULL;
  domain = virDomainLookupByUUIDString (conn, monitor->uuid);
  if (domain == NULL)
    host_set_error (conn, error);
  else if (virDomainIsActive (domain) != 1) {
    g_set_error (error, LIBVIRT_ERROR, LIBVIRT_ERROR_NOT_FOUND, "domain '%s' does not run",
                 virDomainGetName (domain));
    virDomainFree (g_steal_pointer (&domain));
  } else {
    *registration =
        virConnectDomainQemuMonitorEventRegister (conn, domain, NULL, on_event, monitor, NULL, 0);
    if (*registration < 0) {
      host_set_error (conn, error);
      virDomainFree (g_steal_pointer (&domain));
    }
  }
  virConnectClose (conn);
  return domain;
}

static gboolean
lives (virDomainPtr domain)
{
  return domain != NULL && virConnectIsAlive (virDomainGetConnect (domain)) == 1;
}

/* One look after the connection; TRUE unless the domain has another QEMU now. */
static gboolean
keep_connected (Monitor *monitor)
{
  g_autoptr (GError) error = NULL;
  int registration;

  g_mutex_lock (&monitor->lock);
  gboolean connected = lives (monitor->domain);
  if (!connected)
    drop_domain_locked (monitor);
  g_mutex_unlock (&monitor->lock);
  if (connected)
    return TRUE;

  virDomainPtr domain = find_domain (monitor, &registration, NULL);
  if (domain == NULL)
    return TRUE; /* as long as QEMU lives it may come back */
  gboolean same = is_qemu (domain, monitor->qemu, &error);
  if (!same && !g_error_matches (error, LIBVIRT_ERROR, LIBVIRT_ERROR_NOT_FOUND)) {
    /* It does not answer yet. */
    virConnectDomainQemuMonitorEventDeregister (virDomainGetConnect (domain), registration);
    virDomainFree (domain);
    return TRUE;
  }
  g_mutex_lock (&monitor->lock);
  monitor->domain = domain;
  monitor->registration = registration;
  g_cond_broadcast (&monitor->changed);
  g_mutex_unlock (&monitor->lock);
  if (same)
    tell_events_lost (monitor);
  return same;
}

void
monitor_watch (Monitor *monitor)
{
  struct pollfd ended = { .fd = monitor->pidfd, .events = POLLIN };

  while (poll (&ended, 1, RECONNECT_MS) <= 0)
    if (!keep_connected (monitor))
      return;
}

virDomainPtr
monitor_domain (Monitor *monitor, GError **error)
{
  gint64 deadline_us = g_get_monotonic_time() + PATIENCE_S * G_USEC_PER_SEC;
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&monitor->lock);

  while (!lives (monitor->domain))
    if (!g_cond_wait_until (&monitor->changed, &monitor->lock, deadline_us)) {
      g_set_error (error, LIBVIRT_ERROR, LIBVIRT_ERROR_UNREACHABLE,
                   "libvirt's daemon at %s does not answer; is it running?",
                   host_uri (monitor->host));
      return NULL;
    }
  virDomainRef (monitor->domain);
  return monitor->domain;
}

static gboolean
find_qemu (Monitor *monitor, GError **error)
{
  g_autofree char *socket = domain_pid_socket_of_uri (host_uri (monitor->host));
  ProcessId manager = socket != NULL ? domain_pid_of_listener (socket) : (ProcessId){ 0 };

  monitor->qemu = domain_pid_find (virDomainGetName (monitor->domain), monitor->uuid, &manager);
  if (monitor->qemu.pid == 0) {
    g_set_error (error, LIBVIRT_ERROR, LIBVIRT_ERROR_NOT_FOUND,
                 "no process of this host is the QEMU of domain '%s'",
                 virDomainGetName (monitor->domain));
    return FALSE;
  }
  monitor->pidfd = (int)syscall (SYS_pidfd_open, monitor->qemu.pid, 0);
  if (monitor->pidfd < 0 || !process_id_alive (monitor->qemu))
    return fd_set_errno_error (error, "the QEMU of domain '%s'",
                               virDomainGetName (monitor->domain));
  return is_qemu (monitor->domain, monitor->qemu, error);
}

static void
monitor_free (Monitor *monitor)
{
  drop_domain_locked (monitor);
  fd_close (&monitor->pidfd);
  g_free (monitor->uuid);
  g_mutex_clear (&monitor->lock);
  g_cond_clear (&monitor->changed);
  g_free (monitor);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Monitor, monitor_free)

Monitor *
monitor_open (Host *host, const char *uuid, MonitorEventFunc func, gpointer user_data,
              GError **error)
{
  g_autoptr (Monitor) monitor = g_new0 (Monitor, 1);

  monitor->host = host;
  monitor->uuid = g_strdup (uuid);
  monitor->func = func;
  monitor->user_data = user_data;
  monitor->pidfd = -1;
  g_mutex_init (&monitor->lock);
  g_cond_init (&monitor->changed);
  monitor->domain = find_domain (monitor, &monitor->registration, error);
  if (monitor->domain == NULL || !find_qemu (monitor, error))
    return NULL;
  return g_steal_pointer (&monitor);
}

ProcessId
monitor_qemu (const Monitor *monitor)
{
  return monitor->qemu;
}
