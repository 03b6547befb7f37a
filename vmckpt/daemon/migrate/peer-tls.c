/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "peer-tls.h"

#include "api-error.h"

#include <vmckpt/util/error.h>

static const char *const role_names[] = {
  [PEER_TLS_SERVER] = "server", [PEER_TLS_CLIENT] = "client"
};

char *
peer_tls_describe (GTlsCertificateFlags flags)
{
  static const struct {
    GTlsCertificateFlags flag;
    const char *text;
  } texts[] = {
    { G_TLS_CERTIFICATE_EXPIRED, "has expired" },
    { G_TLS_CERTIFICATE_NOT_ACTIVATED, "is not valid yet" },
    { G_TLS_CERTIFICATE_UNKNOWN_CA, "is not signed by the authority in ca-cert.pem" },
    { G_TLS_CERTIFICATE_BAD_IDENTITY, "is for another host name or address" },
    { G_TLS_CERTIFICATE_REVOKED, "is revoked" },
    { G_TLS_CERTIFICATE_INSECURE, "uses an algorithm that is not secure" },
  };
  g_autoptr (GPtrArray) found = g_ptr_array_new();

  for (guint i = 0; i < G_N_ELEMENTS (texts); i++)
    if ((flags & texts[i].flag) != 0)
      g_ptr_array_add (found, (char *)texts[i].text);
  if (found->len == 0)
    g_ptr_array_add (found, (char *)"is not valid");
  g_ptr_array_add (found, NULL);
  return g_strjoinv (" and ", (char **)found->pdata);
}

void
peer_tls_free (PeerTls *tls)
{
  if (tls == NULL)
    return;
  g_free (tls->directory);
  g_clear_object (&tls->authority);
  g_clear_object (&tls->certificate);
  g_free (tls);
}

static gboolean
read_files (PeerTls *tls, PeerTlsRole role, GError **error)
{
  g_autofree char *authority = g_build_filename (tls->directory, "ca-cert.pem", NULL);
  g_autofree char *name = g_strconcat (role_names[role], "-cert.pem", NULL);
  g_autofree char *key_name = g_strconcat (role_names[role], "-key.pem", NULL);
  g_autofree char *certificate = g_build_filename (tls->directory, name, NULL);
  g_autofree char *key = g_build_filename (tls->directory, key_name, NULL);
  g_autoptr (GTlsCertificate) ca = g_tls_certificate_new_from_file (authority, error);
  GTlsCertificateFlags flags;

  if (ca == NULL) {
    g_prefix_error (error, "%s: ", authority);
    return FALSE;
  }
  tls->certificate = g_tls_certificate_new_from_files (certificate, key, error);
  if (tls->certificate == NULL) {
    g_prefix_error (error, "%s, %s: ", certificate, key);
    return FALSE;
  }
  tls->authority = g_tls_file_database_new (authority, error);
  if (tls->authority == NULL)
    return FALSE;
  flags = g_tls_certificate_verify (tls->certificate, NULL, ca);
  if (flags == G_TLS_CERTIFICATE_NO_FLAGS)
    return TRUE;
  g_autofree char *text = peer_tls_describe (flags);
  g_set_error (error, API_ERROR, API_NOT_POSSIBLE, "%s %s", certificate, text);
  return FALSE;
}

PeerTls *
peer_tls_read (const char *directory, PeerTlsRole role, GError **error)
{
  g_autoptr (PeerTls) tls = g_new0 (PeerTls, 1);
  g_autoptr (GError) cause = NULL;

  tls->directory = g_strdup (directory);
  if (!g_tls_backend_supports_tls (g_tls_backend_get_default()))
    g_set_error_literal (error, API_ERROR, API_NOT_POSSIBLE,
                         "GLib has no TLS on this host: install glib-networking");
  else if (read_files (tls, role, &cause))
    return g_steal_pointer (&tls);
  else
    g_set_error (error, API_ERROR, API_NOT_POSSIBLE, "certificates of this host: %s",
                 cause->message);
  return NULL;
}
