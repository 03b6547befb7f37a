/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vmckpt nbd: disks of a checkpoint for qemu-img, the kernel, another host. */
#include "cli-error.h"
#include "cli-format.h"
#include "table.h"
#include "verb.h"

#include <string.h>

typedef struct {
  char *socket, *listen, *tls, *stop;
  gboolean writable, insecure, detach, list;
} NbdValues;

#define VALUE(member) G_STRUCT_OFFSET (NbdValues, member)
static const VerbOption nbd_options[] = {
  { "socket", 0, G_OPTION_ARG_FILENAME, VALUE (socket), "FILE", "serve on this UNIX socket" },
  { "listen", 0, G_OPTION_ARG_FILENAME, VALUE (listen), "ADDR[:PORT]",
    "serve at an IP address (port 10809)" },
  { "tls", 0, G_OPTION_ARG_FILENAME, VALUE (tls), "DIR", "with TLS; the certificates are there" },
  { "insecure", 0, G_OPTION_ARG_NONE, VALUE (insecure), NULL,
    "beyond this host without TLS: all can read" },
  { "writable", 0, G_OPTION_ARG_NONE, VALUE (writable), NULL,
    "writes are taken, and thrown away at the end" },
  { "detach", 0, G_OPTION_ARG_NONE, VALUE (detach), NULL, "go on after this command" },
  { "list", 0, G_OPTION_ARG_NONE, VALUE (list), NULL, "what is served" },
  { "stop", 0, G_OPTION_ARG_FILENAME, VALUE (stop), "N | all", "end an export" },
  { NULL },
};
#undef VALUE

/* ---- Those that are there ---- */

static JsonArray *
get_exports (Cli *cli, GError **error)
{
  g_autoptr (GString) path = api_path ("nbd", NULL);
  g_autoptr (JsonObject) answer = api_call (cli->api, "GET", path, NULL, error);

  return answer != NULL ? cli_array (answer, "exports") : NULL;
}

static gboolean
run_list (Cli *cli, GError **error)
{
  g_autoptr (JsonArray) exports = get_exports (cli, error);

  if (exports == NULL)
    return FALSE;
  if (cli_print_json_list (cli, exports))
    return TRUE;
  g_autoptr (Table) table = table_new (">N", "ID", "GUEST", "DISK", ">SIZE", "STATE", "URI", NULL);
  for (guint i = 0; i < json_array_get_length (exports); i++) {
    g_autoptr (JsonObject) export = cli_element (exports, i);
    g_autoptr (JsonArray) disks = cli_array (export, "disks");
    for (guint j = 0; j < json_array_get_length (disks); j++) {
      g_autoptr (JsonObject) disk = cli_element (disks, j);
      table_take (table, format_count_member (export, "number"));
      table_take (table, format_id_member (export, "id"));
      table_take (table, format_text_member (export, "guest"));
      table_take (table, format_text_member (disk, "name"));
      table_take (table, format_size_member (disk, "bytes"));
      table_take (table, format_text_member (export, "state"));
      table_take (table, format_text_member (disk, "uri"));
    }
  }
  table_write (table, cli->out);
  return TRUE;
}

static gboolean
stop_one (Cli *cli, const char *number, gpointer user_data, GError **error)
{
  g_autoptr (GString) path = api_path ("nbd", number, NULL);
  g_autoptr (JsonObject) answer = api_call (cli->api, "DELETE", path, NULL, error);

  if (answer == NULL)
    return FALSE;
  if (cli->json)
    cli_print_json (cli, answer);
  else
    cli_say (cli, "export %s is ended", number);
  return TRUE;
}

static gboolean
run_stop (Cli *cli, const char *which, GError **error)
{
  g_autoptr (JsonArray) exports = NULL;
  g_autoptr (GStrvBuilder) numbers = g_strv_builder_new();

  if (!g_str_equal (which, "all"))
    return stop_one (cli, which, NULL, error);
  exports = get_exports (cli, error);
  if (exports == NULL)
    return FALSE;
  for (guint i = 0; i < json_array_get_length (exports); i++) {
    g_autoptr (JsonObject) export = cli_element (exports, i);
    g_autofree char *number =
        g_strdup_printf ("%" G_GUINT64_FORMAT, json_get_uint64_or (export, "number", 0));
    g_strv_builder_add (numbers, number);
  }
  g_auto (GStrv) all = g_strv_builder_end (numbers);
  return cli_for_each (cli, all, stop_one, NULL);
}

/* ---- A new one ---- */

static void
print_export (Cli *cli, JsonObject *export, gboolean detached)
{
  g_autoptr (JsonArray) disks = cli_array (export, "disks");

  if (cli->json) {
    cli_print_json (cli, export);
    return;
  }
  for (guint i = 0; i < json_array_get_length (disks); i++) {
    g_autoptr (JsonObject) disk = cli_element (disks, i);
    g_autofree char *uri = format_text_member (disk, "uri");
    output_line (cli->out, uri);
  }
  if (json_get_bool_or (export, "writable", FALSE))
    cli_say (cli, "writes are taken, and thrown away when this ends");
  if (detached)
    cli_say (cli, "'vmckpt nbd --stop %" G_GUINT64_FORMAT "' ends it",
             json_get_uint64_or (export, "number", 0));
  else
    cli_say (cli, "served until Ctrl-C");
}

/* An ApiLineFunc. */
static void
on_line (JsonObject *line, const char *type, gpointer user_data)
{
  Cli *cli = user_data;

  if (g_str_equal (type, "serving"))
    print_export (cli, line, FALSE);
}

static gboolean
make_body (const NbdValues *values, const char *disk, JsonObject *body, GError **error)
{
  g_autofree char *socket = NULL;
  g_autofree char *tls = NULL;

  if ((values->socket != NULL && (socket = cli_absolute (values->socket, error)) == NULL) ||
      (values->tls != NULL && (tls = cli_absolute (values->tls, error)) == NULL))
    return FALSE;
  cli_set_string (body, "disk", disk);
  cli_set_string (body, "socket", socket);
  cli_set_string (body, "listen", values->listen);
  cli_set_string (body, "tls", tls);
  json_object_set_boolean_member (body, "writable", values->writable);
  json_object_set_boolean_member (body, "insecure", values->insecure);
  json_object_set_boolean_member (body, "detach", values->detach);
  return TRUE;
}

static gboolean
run_serve (Cli *cli, const char *what, const NbdValues *values, GError **error)
{
  g_autofree char *ref = g_strdup (what);
  g_autoptr (JsonObject) body = json_object_new();
  g_autoptr (GString) path = NULL;
  char *colon = strrchr (ref, ':');

  if (colon != NULL)
    *colon = '\0';
  path = cli_checkpoint_path (cli, ref, "nbd", error);
  if (path == NULL || !make_body (values, colon != NULL ? colon + 1 : NULL, body, error))
    return FALSE;
  g_autoptr (JsonObject) result = api_call_long (cli->api, path, body, on_line, cli, error);
  if (result == NULL)
    return FALSE;
  if (values->detach)
    print_export (cli, result, TRUE);
  else
    cli_say (cli, "the export was ended");
  return TRUE;
}

static gboolean
run_nbd (Cli *cli, const VerbCall *call, GError **error)
{
  const NbdValues *values = call->values;

  if (values->list + (values->stop != NULL) + (call->n_args > 0) != 1) {
    g_set_error_literal (error, CLI_ERROR, CLI_ERROR_USAGE,
                         "nbd: either a checkpoint, --list or --stop");
    return FALSE;
  }
  if (values->list)
    return run_list (cli, error);
  if (values->stop != NULL)
    return run_stop (cli, values->stop, error);
  return run_serve (cli, call->args[0], values, error);
}

const Verb verb_nbd = {
  .name = "nbd",
  .arguments = "ID[:DISK] | --list | --stop N",
  .summary = "Serve a checkpoint's disks over NBD",
  .details = "For qemu-img, the kernel, another host. Prints the URI of each disk, and serves\n"
             "until Ctrl-C, or with --detach until --stop. Without --listen only this user\n"
             "reaches it, over a UNIX socket. With --tls, clients must have a certificate of\n"
             "the CA in DIR (ca-cert.pem, beside server-cert.pem and server-key.pem).",
  .group = VERB_GROUP_CHECKPOINTS,
  .options = nbd_options,
  .values_size = sizeof (NbdValues),
  .max_args = 1,
  .interrupted = "the disks are not served any more",
  .run = run_nbd,
};
