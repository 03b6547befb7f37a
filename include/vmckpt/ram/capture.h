/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What every engine that captures a guest's RAM and devices takes and gives. Engines differ in how
 * they read, never in what they write: the same parts, `configuration`, `ram` (one per block) and
 * `device-state`, whichever engine made them.
 */
#pragma once

#include <vmckpt/keeper/keeper.h>
#include <vmckpt/qmp/client.h>
#include <vmckpt/ram/guest-tracking.h>
#include <vmckpt/ram/run-clock.h>
#include <vmckpt/store/writer.h>

#define RAM_ERROR (ram_error_quark())
GQuark ram_error_quark (void);

typedef enum {
  RAM_ERROR_IMPOSSIBLE, /* this guest cannot be captured now, or lacks what the engine needs */
  RAM_ERROR_FAILED,     /* QEMU did not send or take the stream; the message ends with its reason */
  RAM_ERROR_STALLED,    /* QEMU has stopped sending for long */
  RAM_ERROR_BUSY,       /* QEMU is migrating this guest already, on somebody else's behalf */
  RAM_ERROR_SAVED,      /* QEMU has saved this guest, and does so again only once it has run */
} RamError;

/* What a capture works on. Everything is borrowed. */
typedef struct {
  QmpClient *monitor;
  Keeper *keeper;
  RunClock *clock;
  StoreWriter *writer;
  const Manifest *parent;  /* (nullable): pages equal to its are not stored again */
  Store *store;            /* that @writer writes to */
  GuestTracking *tracking; /* (nullable): of the memory that QEMU shares; the tracked engine's */
  struct _GuestFill
      *fill; /* (nullable): fills the memory; the tracked engine needs not all of it */
  /* (nullable): called right before the guest is stopped: what makes stopping short, and what the
   * guest itself has to do for the instant. Should it fail, so does the capture */
  gboolean (*before_stop) (gpointer user_data, GError **error);
  /* (nullable): called when the guest runs again, if it does, maybe twice; must not wait for the
   * guest, whose memory is still being read */
  void (*after_resume) (gpointer user_data);
  gpointer before_stop_data; /* of both */
  /* (nullable): called once while the guest is stopped, at a moment whose RAM is captured: what
   * else belongs to that instant. Should it fail, so does the capture. */
  gboolean (*at_instant) (gpointer user_data, GError **error);
  gpointer at_instant_data;
  /* The guest goes on, elsewhere, only when the checkpoint is durable: that is its pause. With
   * CAPTURE_STOP_KEEP. */
  gboolean until_durable;
  const Progress *progress;
  GCancellable *cancellable;
  /* (nullable): told why, when something is done in another way than was wanted */
  void (*message) (const char *text, gpointer user_data);
  gpointer message_data;
} CaptureContext;

typedef enum {
  CAPTURE_LIVE, /* the guest runs on while its pages are read; CAPTURE_STOP where that cannot be */
  CAPTURE_STOP, /* the guest is stopped, read, resumed (if it ran) */
  CAPTURE_STOP_KEEP, /* stopped and, on success, left stopped: for suspend */
} CaptureMode;

/* What the tracked engine measured; all zeros from others. */
typedef struct {
  const char *mode;        /* how writes are known: "async", "sync", …; NULL: not tracked */
  const char *stop_reason; /* why the rounds ended, for people; NULL: there were none */
  guint rounds;            /* of copying while the guest ran */
  guint64 live_bytes;      /* copied in them */
  guint64 paused_bytes;    /* copied while the guest was stopped */
  guint64 behind_bytes;    /* copied after the guest was resumed, before it wrote to them */
  guint64 waits;           /* of the guest, for room for such copies */
  double write_rate;       /* of the guest, bytes of distinct pages per second; 0: not measured */
  double copy_rate;        /* of the rounds, bytes per second; 0: not measured */
} CaptureTracking;

/* Duration of each phase so far, milliseconds, and what was found. */
typedef struct {
  double phase_ms[PHASE_COUNT];
  double pause_ms;
  double frozen_ms;  /* how long the guest's writers waited, before, in and after the pause; 0: its
                        file systems were not frozen */
  gint64 instant_us; /* the instant that the checkpoint shows, microseconds since 1970 */
  guint64 ram_bytes;
  PageMapStats pages;   /* of all RAM blocks */
  gboolean was_running; /* the guest ran before */
  char *machine;        /* machine type as the stream says; owned */
  CaptureTracking tracking;
} CaptureReport;

/* Frees what it holds and resets it. */
void capture_report_clear (CaptureReport *report);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (CaptureReport, capture_report_clear)
