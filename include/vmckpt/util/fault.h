/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fault points: places where a test can make the process die or a call fail.
 *
 * VMCKPT_FAULT="POINT[:ACTION[:N]]" arms one point. ACTION is kill (the default: SIGKILL, at once),
 * enospc or eio (the step fails with that error), or stall (SIGSTOP). N: the N-th visit only
 * (default 1). Unknown points are an error at start, so that a test cannot silently test nothing.
 * Costs one comparison when nothing is armed.
 */
#pragma once

#include <gio/gio.h>

/* In the order in which a checkpoint visits them. Names in fault.c; `--list-faults` of the tests.
 */
typedef enum {
  FAULT_NONE,
  FAULT_WRITER_ANNOUNCED, /* the store knows of the writer, nothing else is written */
  FAULT_LEASE_TAKEN,      /* the keeper holds the stream, the guest still runs untouched */
  FAULT_QUIESCE_FROZEN,   /* --quiesce: the guest's file systems are frozen, it still runs */
  FAULT_GUEST_STOPPED,    /* --stop: the guest is paused */
  FAULT_PAGES_COPIED,     /* a round of copying is made, the guest runs */
  FAULT_WRITES_COLLECTED, /* at the pause: the last scan is made, its pages are not copied */
  FAULT_DEVICES_SAVED,    /* pages and device state are read, the guest is still paused */
  FAULT_LOG_TURNED,       /* and the log counts for the next checkpoint from here on */
  FAULT_GUEST_RESUMED,    /* the guest runs again, what was read is in memory only */
  FAULT_BEFORE_WRITE,     /* and pages are copied before it writes them */
  FAULT_STREAM_BEGUN,     /* QEMU is sending */
  FAULT_STREAM_MIDDLE,    /* the first pages are in the store's hands */
  FAULT_STREAM_ENDED,     /* all is read */
  FAULT_DISK_MIDDLE,      /* a part of a disk is read, the guest runs */
  FAULT_DISK_READ,        /* all disks are read, and are still held in QEMU */
  FAULT_DISK_BASE,        /* the checkpoint is the base of the bitmaps, which do not know yet */
  FAULT_OBJECT_WRITTEN,   /* an object's bytes are in its temporary file, not synced */
  FAULT_OBJECT_SYNCED,    /* synced, not yet under its name */
  FAULT_OBJECT_NAMED,     /* under its name, directory not synced */
  FAULT_PACKS_SYNCED,     /* all packs durable, no index table, no manifest */
  FAULT_INDEX_WRITTEN,    /* index table durable, no manifest */
  FAULT_MANIFEST_WRITTEN, /* the checkpoint exists; the writer's announcement is still there */
  FAULT_GC_CONDEMNED,     /* gc has said which packs it will delete */
  FAULT_GC_UNINDEXED,     /* and has taken them out of the index */
  FAULT_GC_DELETING,      /* and has deleted the first of them */
  FAULT_REPAIR_INDEXED,   /* repair has replaced index tables */
  FAULT_REPAIR_SALVAGED,  /* and what it could get of damaged packs is durable in new ones */
  FAULT_REPAIR_CONDEMNED, /* and has left the damaged ones to gc */
  FAULT_RESTORE_STARTED,  /* the new QEMU waits for its stream */
  FAULT_RESTORE_MIDDLE,   /* and has got a part of it */
  FAULT_RESTORE_LOADED,   /* and all of it, but does not run yet */
  FAULT_FILL_REGISTERED,  /* its memory is missing, it does not run yet */
  FAULT_FILL_RUNNING,     /* it runs, and its memory is still missing */
  FAULT_FILL_MIDDLE,      /* a part of it was read in the background */
  FAULT_FILL_SETTLED,     /* all is there, which the log does not say yet */
  FAULT_FORK_REGISTERED,  /* forks wait for their memory, none has loaded its devices */
  FAULT_FORK_RUNNING,     /* all run, and are not known yet */
  FAULT_KEY_MARKED,       /* a key is marked as going, and still there */
  FAULT_KEY_ADDED,        /* a new key is durable; the one that it replaces still there */
  FAULT_IMPORT_MIDDLE,    /* the first pages of a file to import are in the store's hands */
  FAULT_IMPORT_READ,      /* all of it is read, nothing is committed */
  FAULT_FILE_WRITTEN,     /* a disk is in a partial file, not synced */
  FAULT_FILE_SYNCED,      /* synced, not yet under its name */
  FAULT_FILE_NAMED,       /* under its name; its guest still reads from the export */
  FAULT_SWAP_ADDED,       /* the file is a node beside the export */
  FAULT_SWAP_REOPENED,    /* and below the overlay; the export's node is still there */
  FAULT_SWAP_DONE,        /* and alone */
  FAULT_SERVER_MADE,      /* the process that will serve disks is there, and not recorded */
  FAULT_SERVER_RECORDED,  /* it is recorded, and waits for the word to go */
  FAULT_DISK_CREATING,    /* temporaries of disks are being formatted */
  FAULT_DISK_PREPARED,    /* what holds the disks is in QEMU, the guest still writes past it */
  FAULT_DISK_POINT,       /* the disks are held at the instant, the guest is paused */
  FAULT_DISK_EXPORTED,    /* what they held can be read */
  FAULT_DISK_UNDOING,     /* exports are gone, what the guest overwrites is still copied */
  FAULT_DISK_UNDONE,      /* only the bitmaps are left, which are not settled */
  FAULT_MOVE_RECORDED,    /* migrate, source: recorded that the guest is on its way; nothing done */
  FAULT_MOVE_STREAMING,   /* source: its memory is being sent */
  FAULT_MOVE_STOPPED,     /* source: the guest is stopped, the last pages are not sent */
  FAULT_MOVE_FLUSHING,    /* source: QEMU was told to send the last pages */
  FAULT_MOVE_SENT,        /* source: everything is there, the guest stands still on both sides */
  FAULT_MOVE_GOING,       /* source: recorded that it must not go on here by itself */
  FAULT_MOVE_TOLD,        /* source: knows that it runs there; its own QEMU is still there */
  FAULT_MOVE_OVER,        /* source: its own QEMU is gone */
  FAULT_MOVE_LISTENING,   /* destination: its QEMU waits for the stream */
  FAULT_MOVE_ARRIVED,     /* destination: all is loaded */
  FAULT_MOVE_ASKED,       /* destination: is told to let it run, nothing done */
  FAULT_MOVE_RELEASED,    /* destination: nobody kills its QEMU any more, undecided */
  FAULT_MOVE_DECIDED,     /* destination: recorded that it runs there; it does not yet */
  FAULT_MOVE_RUNNING,     /* destination: it runs, which the source does not know */
  FAULT_SUSPEND_OFF,      /* a suspended guest is off, its claims are not given up */
  FAULT_SUSPEND_ONE,      /* of several guests the first is suspended, whole */
  FAULT_COUNT
} FaultPoint;

/* The point's name as VMCKPT_FAULT takes it, e.g. "stream-begun". */
const char *fault_point_name (FaultPoint point);

/**
 * fault_visit:
 * @point: where we are
 *
 * Does what VMCKPT_FAULT asks for at this point. Thread-safe.
 *
 * Returns: FALSE with @error (G_IO_ERROR_NO_SPACE or G_IO_ERROR_FAILED) if the step is to fail.
 */
gboolean fault_visit (FaultPoint point, GError **error);

/* Checks VMCKPT_FAULT for a known point and action; call it first in main(). */
gboolean fault_check_environment (GError **error);
