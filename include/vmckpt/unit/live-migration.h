/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * QEMU's own live migration from one of our guests to a QEMU that waits for it, both sides.
 *
 *   destination   live_listen()  ▶ an address        … live_wait_loaded()  all is there, and
 * stopped source        live_send():     rounds of copying ─ stopped ─ last pages, devices ─ all is
 * sent
 *
 * The destination's QEMU never runs by itself (it was started with -S), not even after a switch to
 * postcopy. The source's stands still when live_send() returns TRUE; on failure it is as it was
 * before, and runs if it ran. Who runs the guest in the end is not decided here
 * (vmckpt/daemon/guests/arrivals.h).
 *
 * Any thread; everything blocks.
 */
#pragma once

#include <vmckpt/qmp/client.h>

typedef struct {
  guint channels;         /* connections beside the first, for memory alone; 0: none */
  gboolean postcopy;      /* may be gone over to */
  gboolean bitmaps;       /* the bitmaps of its disks go along, under the same names */
  gboolean auto_converge; /* source: its CPUs may be slowed down */
  guint64 bandwidth;      /* source: bytes per second; 0: no limit */
  guint max_downtime_ms;  /* source: 0: LIVE_DOWNTIME_MS */
  const char *tls;        /* (nullable): directory of certificates, as QEMU names them */
  const char *tls_host;   /* source: (nullable): the name that the destination's certificate has */
} LiveOptions;

#define LIVE_DOWNTIME_MS 100
#define LIVE_CHANNELS_MAX 16

/* What both sides must agree on: for the destination. Newly allocated. */
JsonObject *live_options_to_json (const LiveOptions *options);
/* G_IO_ERROR_INVALID_DATA. The strings stay NULL. */
gboolean live_options_from_json (JsonObject *object, LiveOptions *options, GError **error);

/* Whether this QEMU can send a guest that runs: RAM_ERROR_IMPOSSIBLE. @accel: of the guest. */
gboolean live_check (QmpClient *monitor, const char *accel, GError **error);

/**
 * live_listen:
 * @uri: "unix:PATH" or "tcp:ADDRESS:0"
 *
 * Returns: where it listens ("unix:PATH" or "tcp:ADDRESS:PORT"), newly allocated; NULL with @error.
 */
char *live_listen (QmpClient *monitor, const LiveOptions *options, const char *uri, GError **error);

/* Waits until all is loaded and QEMU stands still; or, with postcopy, all but memory that comes
 * while it runs. @postcopied: (out): the latter. */
gboolean live_wait_loaded (QmpClient *monitor, gboolean *postcopied, GCancellable *cancellable,
                           GError **error);

/* After a switch to postcopy: waits until all of its memory is there. */
gboolean live_wait_received (QmpClient *monitor, GError **error);

/* The same QEMU is free for other migrations, such as checkpoints. */
void live_forget_options (QmpClient *monitor);

/* How far it is; bytes, and bytes per second. */
typedef struct {
  const char *phase; /* "setup", "copy", "postcopy" or "switch" */
  guint64 transferred, remaining, total;
  double rate, dirty_rate;
  double expected_downtime_ms; /* if it were stopped now */
  double seconds_remaining;    /* until it can be; negative: it does not converge */
  guint rounds;
} LiveProgress;

/* What live_send() is told, and whom it tells; everything is borrowed. */
typedef struct {
  const LiveOptions *options;
  const char *uri;
  void (*progress) (const LiveProgress *progress, gpointer user_data);
  /* Called once when the guest has just been stopped and its last pages are not sent: what else
   * belongs to that moment. Should it fail, all does. */
  gboolean (*stopped) (gpointer user_data, GError **error);
  void (*message) (const char *text, gpointer user_data); /* (nullable) */
  gpointer user_data;
  GCancellable *cancellable;
} LiveSend;

typedef struct {
  LiveProgress last;
  gint64 stopped_us;   /* when the guest stopped, or right before: monotonic */
  gboolean postcopied; /* memory is still to come: live_wait_sent() */
  gboolean lost;       /* QEMU is gone since it was told to send the last of it: whether that was
                        * all sent, only the destination knows */
} LiveReport;

/* See above. */
gboolean live_send (QmpClient *monitor, const LiveSend *send, LiveReport *report, GError **error);

/* After a switch to postcopy, once the guest runs there: until all of its memory has gone. */
gboolean live_wait_sent (QmpClient *monitor, const LiveSend *send, LiveReport *report,
                         GError **error);

/* Whether the guest runs elsewhere already and its memory is still fetched from this QEMU, or would
 * be if the connection were not broken: it must not be ended. */
gboolean live_is_fetching (QmpClient *monitor);

/**
 * live_undo:
 * @run: the guest ran before
 *
 * Of a guest that is to go on here: ends whatever an outgoing migration left, and lets it run. Does
 * nothing to one that runs. Idempotent; for the next daemon, too.
 */
gboolean live_undo (QmpClient *monitor, gboolean run, GError **error);
