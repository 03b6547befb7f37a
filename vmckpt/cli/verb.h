/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Verbs as data: from one table come parsing, help and completion, and the manual is compared. */
#pragma once

#include "cli.h"

typedef enum {
  VERB_GROUP_GUESTS,
  VERB_GROUP_CHECKPOINTS,
  VERB_GROUP_STORE,
  VERB_GROUP_OTHER,
  VERB_GROUP_COUNT
} VerbGroup;

/* An option; its value goes to @offset of the verb's values. Texts are G_OPTION_ARG_FILENAME: they
 * need no locale. */
typedef struct {
  const char *name; /* without dashes; NULL ends a list */
  char letter;      /* or 0 */
  GOptionArg arg;   /* NONE (gboolean), FILENAME (char *) or FILENAME_ARRAY (char **) */
  gsize offset;
  const char *value; /* how help calls the value; NULL for a flag */
  const char *help;
} VerbOption;

/* A verb as it was called. */
typedef struct {
  const void *values; /* the verb's struct of option values */
  char **args;        /* arguments that are not options */
  guint n_args;
  char **rest; /* what came after "--" */
} VerbCall;

typedef struct {
  const char *name;      /* "checkpoint", "store check", "store key add" */
  const char *arguments; /* for the usage line, e.g. "NAME…" */
  const char *summary;   /* one line of help */
  const char *details;   /* (nullable) more help: lines of at most 80 columns */
  VerbGroup group;
  const VerbOption *options; /* (nullable) */
  gsize values_size;
  guint min_args, max_args;
  gboolean takes_bytes;    /* arguments may be other than UTF-8 */
  gboolean takes_rest;     /* "--" begins arguments for QEMU */
  gboolean offline;        /* needs no daemon, so neither a runtime directory */
  const char *interrupted; /* (nullable) what to say after Ctrl-C */
  gboolean (*run) (Cli *cli, const VerbCall *call, GError **error);
} Verb;

/* All verbs, in the order of help; ended by one without a name. */
extern const Verb *const verbs[];

/* Options that every verb has. */
typedef struct {
  char *store;
  char *runtime;
  char *key_file;
  char *password_file;
  gboolean json;
  gboolean quiet;
  gboolean help;
} GlobalValues;
extern const VerbOption global_options[];

/**
 * verb_find:
 * @words: the command line's words from the verb on, ended by NULL
 * @used: (out): how many of them name the verb
 *
 * Returns: (nullable): the verb, or NULL with @error (CLI_ERROR_USAGE) that suggests the nearest.
 */
const Verb *verb_find (char **words, guint *used, GError **error);

/* The first word of the verbs that have two. */
#define VERB_FAMILY "store"
/* And the second of those that have three. */
#define VERB_FAMILY_OF_KEYS "key"

/* How many of @words, ended by NULL, name a family ("store", "store key"); 0: none. */
guint verb_family_words (char **words);

/* Help of at most 80 columns (newly allocated): all verbs, the family's, or one. */
char *help_all (void);
char *help_family (void);
char *help_verb (const Verb *verb);

/* The completion script for "bash", "zsh" or "fish"; NULL with @error for another shell. */
char *completion_script (const char *shell, GError **error);

/* Sets "priority" by the value (nullable) of --priority; FALSE with @error (CLI_ERROR_USAGE). */
gboolean verb_set_priority (JsonObject *body, const char *value, GError **error);

/* The verbs, by family. */
extern const Verb verb_run, verb_ps, verb_kill, verb_pause, verb_continue, verb_set;
extern const Verb verb_log, verb_console, verb_migrate, verb_drain;
extern const Verb verb_checkpoint, verb_suspend, verb_restore, verb_resume, verb_fork;
extern const Verb verb_export, verb_import, verb_nbd;
extern const Verb verb_list, verb_show, verb_diff, verb_verify, verb_rm, verb_tag;
extern const Verb verb_inspect, verb_ls, verb_cat, verb_cp, verb_check;
extern const Verb verb_forget, verb_store_quota;
extern const Verb verb_store_key_list, verb_store_key_add, verb_store_key_remove;
extern const Verb verb_store_key_passwd, verb_store_key_generate;
extern const Verb verb_store_init, verb_store_check, verb_store_gc, verb_store_stats;
extern const Verb verb_store_repair, verb_store_copy;
extern const Verb verb_prepare;
extern const Verb verb_doctor, verb_completion, verb_help;
