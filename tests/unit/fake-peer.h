/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A QMP server in a thread of the test, for what a real QEMU cannot be made to do. The script runs
 * in that thread and speaks through the functions below, which fail the test after 30 s of silence.
 */
#pragma once

#include <gio/gio.h>
#include <json-glib/json-glib.h>
#include <vmckpt/util/fd.h>

typedef struct _FakePeer FakePeer;
typedef void (*FakeScript) (FakePeer *peer, gpointer data);

/* Starts a peer. @client_fd: (out): the other end, the caller's. */
FakePeer *fake_peer_start (FakeScript script, gpointer data, int *client_fd);

/* Waits for the script's end and closes the peer's end of the socket. */
void fake_peer_join (FakePeer *peer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FakePeer, fake_peer_join)

/* For the script: */

/* Sends a greeting that offers oob or not, and answers qmp_capabilities. */
void fake_peer_greet (FakePeer *peer, gboolean oob);
void fake_peer_send (FakePeer *peer, const char *text);
void fake_peer_send_bytes (FakePeer *peer, const void *data, gsize len);

/* The next command, or NULL at the end. */
JsonObject *fake_peer_read (FakePeer *peer);

/* The same: its id; it has to be @command. */
gint64 fake_peer_expect (FakePeer *peer, const char *command);

/* Answers with @value, any JSON. */
void fake_peer_answer (FakePeer *peer, gint64 id, const char *value);

/* Reads and drops everything until the client closes. */
void fake_peer_wait_closed (FakePeer *peer);

/* A descriptor that came along with what was read, or -1; the caller's. */
int fake_peer_take_fd (FakePeer *peer);

/* A step of the script that the test waits for, and the other way round. */
void fake_peer_signal (FakePeer *peer);
void fake_peer_wait_signal (FakePeer *peer);
