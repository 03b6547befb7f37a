/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vmckpt store key list, add, remove, passwd, generate. */
#include "cli-error.h"
#include "cli-format.h"
#include "table.h"
#include "verb.h"

#include <vmckpt/util/fd.h>

#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#define GENERATED_BYTES 64

typedef struct {
  char *label;
  char *key_file, *password_file;
} NewKeyValues;

#define NEW_KEY(member) G_STRUCT_OFFSET (NewKeyValues, member)
#define NEW_KEY_OPTIONS                                                                            \
  { "new-key-file",     0,      G_OPTION_ARG_FILENAME,                                             \
    NEW_KEY (key_file), "FILE", "the new key: this file's content" },                              \
  {                                                                                                \
    "new-password-file", 0, G_OPTION_ARG_FILENAME, NEW_KEY (password_file), "FILE",                \
        "the new key: the first line of this file"                                                 \
  }

/* ---- list ---- */

static void
print_keys (Cli *cli, JsonArray *keys)
{
  g_autoptr (Table) table = table_new ("ID", "KIND", "MADE", "IN USE", "LABEL", NULL);

  for (guint i = 0; i < json_array_get_length (keys); i++) {
    g_autoptr (JsonObject) key = cli_element (keys, i);
    table_take (table, format_text_member (key, "id"));
    table_take (table, json_get_bool_or (key, "damaged", FALSE) ? g_strdup ("damaged")
                                                                : format_text_member (key, "kind"));
    table_take (table, format_time_member (key, "created_us"));
    table_take (table, g_strdup (json_get_bool_or (key, "current", FALSE) ? "yes" : "-"));
    table_take (table, format_text_member (key, "label"));
  }
  table_write (table, cli->out);
}

static gboolean
run_list (Cli *cli, const VerbCall *call, GError **error)
{
  g_autoptr (GString) path = api_path ("store", "keys", NULL);
  g_autoptr (JsonObject) answer = NULL;

  if (!cli_add_store (cli, path, error))
    return FALSE;
  answer = api_call (cli->api, "GET", path, NULL, error);
  if (answer == NULL)
    return FALSE;
  g_autoptr (JsonArray) keys = cli_array (answer, "keys");
  if (!cli_print_json_list (cli, keys))
    print_keys (cli, keys);
  return TRUE;
}

const Verb verb_store_key_list = {
  .name = "store key list",
  .arguments = "",
  .summary = "List the keys that open the store",
  .group = VERB_GROUP_STORE,
  .run = run_list,
};

/* ---- add, passwd ---- */

/* Whoever is asked for passwords is asked for the store's own first. */
static gboolean
show_own_key (Cli *cli, GError **error)
{
  g_autoptr (GString) path = api_path ("store", "keys", NULL);

  if (!cli_add_store (cli, path, error))
    return FALSE;
  g_autoptr (JsonObject) answer = api_call (cli->api, "GET", path, NULL, error);
  return answer != NULL;
}

/* Makes a call that gives the store the new key of the options, or one that is asked for. */
static gboolean
send_new_key (Cli *cli, const NewKeyValues *values, GString *path, JsonObject *body,
              const char *done, GError **error)
{
  const KeySource source = { values->key_file, values->password_file, cli->keys.ask };
  g_autoptr (KeyMaterial) key = NULL;
  g_autoptr (JsonObject) answer = NULL;

  if (!cli_add_store (cli, path, error) || !show_own_key (cli, error) ||
      (key = key_source_new_key (&source, error)) == NULL)
    return FALSE;
  api_set_new_key (cli->api, key);
  answer = api_call (cli->api, "POST", path, body, error);
  api_set_new_key (cli->api, NULL);
  if (answer == NULL)
    return FALSE;
  if (cli->json) {
    cli_print_json (cli, answer);
    return TRUE;
  }
  g_autofree char *id = format_text_member (answer, "id");
  output_line (cli->out, id);
  cli_say (cli, "%s", done);
  return TRUE;
}

static gboolean
run_add (Cli *cli, const VerbCall *call, GError **error)
{
  const NewKeyValues *values = call->values;
  g_autoptr (GString) path = api_path ("store", "keys", NULL);
  g_autoptr (JsonObject) body = json_object_new();

  cli_set_string (body, "label", values->label);
  return send_new_key (cli, values, path, body, "the store is opened by this key too", error);
}

static const VerbOption add_options[] = {
  NEW_KEY_OPTIONS,
  { "label", 0, G_OPTION_ARG_FILENAME, NEW_KEY (label), "TEXT", "what the key is called" },
  { NULL },
};

const Verb verb_store_key_add = {
  .name = "store key add",
  .arguments = "",
  .summary = "Let another password or key file open the store",
  .details = "Without an option, a password is asked for.",
  .group = VERB_GROUP_STORE,
  .options = add_options,
  .values_size = sizeof (NewKeyValues),
  .run = run_add,
};

static gboolean
run_passwd (Cli *cli, const VerbCall *call, GError **error)
{
  g_autoptr (GString) path = api_path ("store", "keys", "change", NULL);
  g_autoptr (JsonObject) body = json_object_new();

  return send_new_key (cli, call->values, path, body, "the former key opens the store no more",
                       error);
}

static const VerbOption passwd_options[] = { NEW_KEY_OPTIONS, { NULL } };

const Verb verb_store_key_passwd = {
  .name = "store key passwd",
  .arguments = "",
  .summary = "Put another password in the place of the one given",
  .details = "Replaces the key that opens the store for this call. Without an option, the\n"
             "new password is asked for.",
  .group = VERB_GROUP_STORE,
  .options = passwd_options,
  .values_size = sizeof (NewKeyValues),
  .run = run_passwd,
};

/* ---- remove ---- */

static gboolean
run_remove (Cli *cli, const VerbCall *call, GError **error)
{
  g_autoptr (GString) path = api_path ("store", "keys", call->args[0], NULL);
  g_autoptr (JsonObject) answer = NULL;

  /* What is no part of a uuid may not even be part of a path. */
  if (strspn (call->args[0], "0123456789abcdef-") != strlen (call->args[0])) {
    g_set_error (error, CLI_ERROR, CLI_ERROR_NOT_FOUND,
                 "there is no key '%.40s' (see 'vmckpt store key list')", call->args[0]);
    return FALSE;
  }
  if (!cli_add_store (cli, path, error))
    return FALSE;
  answer = api_call (cli->api, "DELETE", path, NULL, error);
  if (answer == NULL)
    return FALSE;
  if (cli->json)
    cli_print_json (cli, answer);
  else
    cli_say (cli, "the key opens the store no more; who kept a copy of it still can");
  return TRUE;
}

const Verb verb_store_key_remove = {
  .name = "store key remove",
  .arguments = "KEY",
  .summary = "Take a key away; never the last",
  .group = VERB_GROUP_STORE,
  .min_args = 1,
  .max_args = 1,
  .run = run_remove,
};

/* ---- generate ---- */

/* A new file of random bytes that only its owner reads, durable. */
static gboolean
write_key_file (const char *path, GError **error)
{
  g_autoptr (Secret) key = secret_new (GENERATED_BYTES);
  g_auto (AutoFd) fd = open (path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

  if (fd < 0)
    return fd_set_errno_error (error, "making the key file %s", path);
  randombytes_buf (key->bytes, key->len);
  if (!fd_write_full (fd, key->bytes, key->len, error)) {
    unlink (path);
    return FALSE;
  }
  if (fsync (fd) < 0) {
    fd_set_errno_error (error, "syncing the key file %s", path);
    unlink (path);
    return FALSE;
  }
  return TRUE;
}

static gboolean
run_generate (Cli *cli, const VerbCall *call, GError **error)
{
  if (!write_key_file (call->args[0], error))
    return FALSE;
  cli_say (cli, "keep %s safe, and a copy of it elsewhere: without it the store cannot be read",
           call->args[0]);
  return TRUE;
}

const Verb verb_store_key_generate = {
  .name = "store key generate",
  .arguments = "FILE",
  .summary = "Make a key file of random bytes",
  .group = VERB_GROUP_STORE,
  .min_args = 1,
  .max_args = 1,
  .offline = TRUE,
  .run = run_generate,
};
