/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What every verb works with: the global options, the daemon, and where its words go. */
#pragma once

#include "api.h"
#include "key-source.h"
#include "output.h"
#include "progress-bar.h"

typedef struct {
  const char *store;   /* absolute, or NULL */
  const char *runtime; /* absolute */
  gboolean json;
  gboolean quiet;
  Api *api;
  KeySource keys; /* of an encrypted store */
  GCancellable *cancellable;
  Output *out;
  Output *err;
  const char *interrupted; /* what to say after Ctrl-C */
  int status;              /* exit code so far: the worst of what was reported */
} Cli;

/* Says on standard error what went wrong (with --json on standard output too), and keeps the worst
 * exit code. */
void cli_report (Cli *cli, const GError *error);

/* Formatted details for people on standard error; nothing with --json or --quiet. */
void cli_say (Cli *cli, const char *format, ...) G_GNUC_PRINTF (2, 3);

/* @object as one line of standard output. */
void cli_print_json (Cli *cli, JsonObject *object);

/* With --json: prints each object of @array as a line and returns TRUE. Elements that are not
 * objects are left out. */
gboolean cli_print_json_list (Cli *cli, JsonArray *array);

/* The array @member of @object; an empty one if it is missing. (transfer full) */
JsonArray *cli_array (JsonObject *object, const char *member);

/* Element @index of @array as an object; an empty one if it is something else. (transfer full) */
JsonObject *cli_element (JsonArray *array, guint index);

/* Adds the store to a call's path; FALSE with @error (CLI_ERROR_USAGE) when none was given. */
gboolean cli_add_store (Cli *cli, GString *path, GError **error);

/* A call's path: on a checkpoint of the store (NULL with @error when no store was given), and on a
 * guest; @action may be NULL. */
GString *cli_checkpoint_path (Cli *cli, const char *ref, const char *action, GError **error);
GString *cli_guest_path (const char *name, const char *action);

/**
 * cli_call_long:
 * @title: what the work is on, for the progress bar
 *
 * Makes a long call, showing its progress: a bar on a terminal, lines with --json.
 *
 * Returns: (transfer full): the result, or NULL with @error.
 */
JsonObject *cli_call_long (Cli *cli, const GString *path, JsonObject *body, const char *title,
                           GError **error);

/* Receives what has come of a part of a long call: a line that is neither status nor message. */
typedef void (*CliPartFunc) (JsonObject *line, const char *type, gpointer user_data);

/* The same for a call that reports the parts of its work as they are done; with --json too, these
 * are
 * @func's to print. */
JsonObject *cli_call_parts (Cli *cli, const GString *path, JsonObject *body, const char *title,
                            CliPartFunc func, gpointer user_data, GError **error);

/* @guest, as the daemon lists it, is attached if it is a libvirt domain. */
gboolean cli_attach (Cli *cli, JsonObject *guest, GError **error);

/* Asks the daemon: TRUE if the guest has exited or is not there any more. */
gboolean cli_guest_has_ended (Cli *cli, const char *name);

/* Does something with one name. */
typedef gboolean (*CliEachFunc) (Cli *cli, const char *name, gpointer user_data, GError **error);

/**
 * cli_for_each:
 *
 * Calls @func for every name, also after one has failed; reports each error as it comes. An
 * interruption ends it.
 *
 * Returns: TRUE; errors are reported already.
 */
gboolean cli_for_each (Cli *cli, char **names, CliEachFunc func, gpointer user_data);

/* Sends along the key of the second store that a call is about, if a file of either kind (nullable)
 * is named. */
gboolean cli_send_other_key (Cli *cli, const char *key_file, const char *password_file,
                             GError **error);

/* @path as an absolute name, UTF-8; NULL with @error (CLI_ERROR_USAGE). */
char *cli_absolute (const char *path, GError **error);

/* A program: absolute if it names a directory or is found in PATH, else as it is. */
char *cli_program (const char *program, GError **error);

/* Sets @member unless @value is NULL. */
void cli_set_string (JsonObject *object, const char *member, const char *value);

/* The same with the value of option --@member that counts something, 1 or more; FALSE with @error
 * (CLI_ERROR_USAGE) if @value is no such number. */
gboolean cli_set_count (JsonObject *object, const char *member, const char *value, GError **error);
