/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who this host is to other hosts, and whom it believes: the certificates of one directory, named
 * as QEMU and libvirt name them:
 *
 *   ca-cert.pem       the authority that signs every host's certificate
 *   server-cert.pem   server-key.pem   what this host shows who connects to it
 *   client-cert.pem   client-key.pem   what it shows when it connects to another host
 */
#pragma once

#include <gio/gio.h>

/* Where the certificates are unless --tls or VMCKPT_TLS says otherwise, if that is there. */
#define PEER_TLS_DIRECTORY "/etc/vmckpt/tls"

typedef enum {
  PEER_TLS_SERVER,
  PEER_TLS_CLIENT,
} PeerTlsRole;

typedef struct {
  char *directory;
  GTlsDatabase *authority;
  GTlsCertificate *certificate;
} PeerTls;

/**
 * peer_tls_read:
 *
 * Reads the authority and @role's certificate with its key. The certificate is held against the
 * authority and the clock, so that what is wrong on this side is said here.
 *
 * Returns: (transfer full): NULL with API_NOT_POSSIBLE
 */
PeerTls *peer_tls_read (const char *directory, PeerTlsRole role, GError **error);
void peer_tls_free (PeerTls *tls);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (PeerTls, peer_tls_free)

/* What is wrong with a certificate, in words; newly allocated. @flags: not none. */
char *peer_tls_describe (GTlsCertificateFlags flags);
