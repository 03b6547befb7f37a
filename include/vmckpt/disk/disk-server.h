/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The process that serves a checkpoint's disks over NBD: nbdkit with the plugin of store/nbd. It
 * reads the store itself, is no part of the daemon's life (QEMUs that were restored a moment ago
 * read their disks from it), and is found again by the next daemon. Each server has a directory:
 *
 *   disk-server.json   who it is and what it serves, written before it runs
 *   disk-server.log    what it said, bounded when it is started
 *   disks.sock         where it listens, unless it was given another place
 *
 * The process is started with a socket that listens already, so a client may connect as soon as
 * disk_server_start() was called, and while a server that died is being started again: it waits.
 * The key of an encrypted store goes to it through a pipe, never through arguments or environment.
 *
 * All functions may be called from any thread; events come in the GMainContext that is given.
 */
#pragma once

#include <gio/gio.h>

#include <vmckpt/disk/disk-error.h>
#include <vmckpt/util/key-material.h>
#include <vmckpt/util/process.h>

/* Files in a server's directory. */
#define DISK_SERVER_FILE_STATE "disk-server.json"
#define DISK_SERVER_FILE_LOG "disk-server.log"
#define DISK_SERVER_FILE_SOCKET "disks.sock"

/* What is to be served, and where. Everything is borrowed. */
typedef struct {
  const char *directory;  /* the server's, absolute; exists, mode 0700 */
  const char *store;      /* location of the store */
  const char *checkpoint; /* full id */
  const KeyMaterial *key; /* (nullable): of an encrypted store */
  const char *disk;       /* (nullable): serve this one alone; else all, each by its name */
  const char *socket;     /* (nullable): a UNIX socket's path; else disks.sock in @directory */
  const char *address;    /* (nullable): listen there instead, a numeric IP address */
  guint16 port;           /* with @address; 0: any that is free */
  const char *tls;        /* (nullable): directory of ca-cert.pem, server-cert.pem, server-key.pem;
                             clients must have a certificate of that CA */
  const char *temporary;  /* (nullable): serve @disk writable; what is written goes into a file
                             without a name in this directory, and is gone with the server */
  gboolean exit_last;     /* the server ends when the last client that it had disconnects */
} DiskServerOptions;

typedef struct _DiskServer DiskServer;

typedef enum {
  DISK_SERVER_STARTED_AGAIN, /* it had died, and its successor serves */
  DISK_SERVER_WAITING,       /* it died and cannot be started; tried again after a while, or when
                                disk_server_offer_key() brings the key */
  DISK_SERVER_ENDED,         /* its last client is gone (exit_last), nothing is left to do */
} DiskServerEvent;

/* @message: what happened, for a log or a user. The server may be ended or freed from here. */
typedef void (*DiskServerFunc) (DiskServer *server, DiskServerEvent event, const char *message,
                                gpointer user_data);

/* Whom to tell when the process dies and is started again. */
typedef struct {
  DiskServerFunc func; /* (nullable): nobody */
  gpointer user_data;
  GDestroyNotify destroy; /* (nullable): of @user_data, when no event comes any more */
  GMainContext *context;  /* (nullable): where @func is called, and the process watched; must be
                             iterated. NULL: the main thread's */
} DiskServerWatch;

/**
 * disk_server_start:
 * @watch: (nullable): copied; on failure its user_data stays the caller's
 *
 * Starts a server and waits until it has opened the store and found the checkpoint: milliseconds,
 * or some hundred with a password. A server that dies is started again at once, at the same place,
 * until it is ended; one that keeps dying, after a growing while (at most 30 seconds).
 *
 * Returns: (transfer full): the server; NULL with @error, and no process or file is left:
 * DISK_ERROR_IMPOSSIBLE (nbdkit or the plugin is not installed), DISK_ERROR_FAILED (what it said is
 * in the message), G_IO_ERROR_ADDRESS_IN_USE, ….
 */
DiskServer *disk_server_start (const DiskServerOptions *options, const DiskServerWatch *watch,
                               GError **error);

/**
 * disk_server_adopt:
 * @directory: of a server that a daemon before this one started
 * @key: (nullable): as for the start, to be able to start it again
 * @watch: (nullable): as for the start
 *
 * Takes over that server. If it has died since, it is started again soon (an event tells); without
 * @key one of an encrypted store has to wait for disk_server_offer_key().
 *
 * Returns: (transfer full): the server; NULL with @error: G_IO_ERROR_NOT_FOUND if there was none.
 */
DiskServer *disk_server_adopt (const char *directory, const KeyMaterial *key,
                               const DiskServerWatch *watch, GError **error);

/* Whether disks can be served on this host: nbdkit and the plugin are there. FALSE with
 * DISK_ERROR_IMPOSSIBLE, which says what is missing. */
gboolean disk_server_check (GError **error);

/* Lets go of @server: process, socket and files stay, for disk_server_adopt(). NULL is ignored. */
void disk_server_free (DiskServer *server);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (DiskServer, disk_server_free)

/**
 * disk_server_end:
 * @grace_ms: how long its clients have to disconnect, once it was asked to end; 0: none
 *
 * Ends the process, removes its socket and record, and frees @server. Blocks up to @grace_ms. What
 * is served is never changed by a client, so nothing is lost by 0.
 */
void disk_server_end (DiskServer *server, guint grace_ms);

/* Ends what a daemon before this one started in @directory, as disk_server_end() without grace;
 * nothing there is no error. */
void disk_server_end_found (const char *directory);

/* Keeps @key for when the server has to be started again, which is now if it waits for it. The key
 * is known to open that store: the caller has used it. */
void disk_server_offer_key (DiskServer *server, const KeyMaterial *key);

/* Whether the server waits for disk_server_offer_key(), and does not serve until then. */
gboolean disk_server_needs_key (DiskServer *server);

/* The process; start_ticks is 0 while there is none. */
ProcessId disk_server_process (DiskServer *server);

/* The path of its UNIX socket; NULL if it listens at an address. Borrowed. */
const char *disk_server_socket (DiskServer *server);

/* The port it listens at; 0 with a UNIX socket. */
guint16 disk_server_port (DiskServer *server);

/* Location of the store, and id of the checkpoint that it serves. Borrowed. */
const char *disk_server_store (DiskServer *server);
const char *disk_server_checkpoint (DiskServer *server);

/**
 * disk_server_uri:
 * @disk: (nullable): name of the export; NULL: the first or only disk
 *
 * Where to find a disk, as libnbd, QEMU and others write it: nbd+unix:///disk0?socket=PATH,
 * nbd://ADDRESS:PORT/disk0, nbds://… with TLS.
 *
 * Returns: newly allocated.
 */
char *disk_server_uri (DiskServer *server, const char *disk);
