/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cpu-features.h"
#include "qemu-ask.h"
#include "qemu-session.h"

#include <vmckpt/qmp/commands.h>

#include <sys/stat.h>

#define DIRECTORIES_MAX 64

/* A program's file. */
typedef struct {
  dev_t device;
  ino_t inode;
  off_t size;
  struct timespec changed;
} Identity;

/* One program under one accelerator. */
typedef struct {
  Identity identity;
  guint major, minor, micro;
  char *package;
  JsonArray *machines; /* (nullable) NULL: nothing was asked yet */
  GHashTable *cpus;    /* model as text → JsonObject */
  GStrv directories;   /* (nullable) */
} Program;

struct _QemuFacts {
  FileHashes *hashes;
  GMutex lock;          /* held while a program is run, so that many who ask at once run it once */
  GHashTable *programs; /* "ACCEL PATH" → Program */
};

static void
program_clear (Program *program)
{
  g_clear_pointer (&program->package, g_free);
  g_clear_pointer (&program->machines, json_array_unref);
  g_clear_pointer (&program->directories, g_strfreev);
  g_hash_table_remove_all (program->cpus);
}

static void
program_free (gpointer data)
{
  Program *program = data;

  program_clear (program);
  g_hash_table_unref (program->cpus);
  g_free (program);
}

QemuFacts *
qemu_facts_new (void)
{
  QemuFacts *facts = g_new0 (QemuFacts, 1);

  g_mutex_init (&facts->lock);
  facts->hashes = file_hashes_new();
  facts->programs = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, program_free);
  return facts;
}

void
qemu_facts_free (QemuFacts *facts)
{
  if (facts == NULL)
    return;
  g_hash_table_unref (facts->programs);
  file_hashes_free (facts->hashes);
  g_mutex_clear (&facts->lock);
  g_free (facts);
}

FileHashes *
qemu_facts_hashes (QemuFacts *facts)
{
  return facts != NULL ? facts->hashes : NULL;
}

void
qemu_answers_clear (QemuAnswers *answers)
{
  g_clear_pointer (&answers->package, g_free);
  g_clear_pointer (&answers->machines, json_array_unref);
  g_clear_pointer (&answers->cpu, json_object_unref);
  g_clear_error (&answers->cpu_error);
}

static Identity
identity_of (const char *path)
{
  struct stat st;

  if (stat (path, &st) < 0)
    return (Identity){ 0 };
  return (Identity){ st.st_dev, st.st_ino, st.st_size, st.st_ctim };
}

static gboolean
same_identity (const Identity *a, const Identity *b)
{
  return a->device == b->device && a->inode == b->inode && a->size == b->size &&
         a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

/* What is known of @path as it is now, maybe nothing. With the lock held. */
static Program *
find_program (QemuFacts *facts, const char *path, const char *accel)
{
  g_autofree char *key = g_strdup_printf ("%s %s", accel, path);
  Program *program = g_hash_table_lookup (facts->programs, key);
  Identity identity = identity_of (path);

  if (program == NULL) {
    program = g_new0 (Program, 1);
    program->cpus =
        g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify)json_object_unref);
    g_hash_table_insert (facts->programs, g_steal_pointer (&key), program);
  }
  if (!same_identity (&program->identity, &identity))
    program_clear (program);
  program->identity = identity;
  return program;
}

/* Runs the program and asks for all that is not known. */
static gboolean
ask_program (Program *program, const char *path, const char *accel, const char *cpu,
             QemuAnswers *answers, GError **error)
{
  g_auto (PrivateContext) home = private_context_push();
  g_auto (QemuSession) session = QEMU_SESSION_NONE;

  if (!qemu_session_open (path, accel, &session, error))
    return FALSE;
  if (program->machines == NULL) {
    const QmpGreeting *greeting = qmp_client_greeting (session.monitor);
    program->major = greeting->major;
    program->minor = greeting->minor;
    program->micro = greeting->micro;
    program->package = g_strdup (greeting->package);
    program->machines = qmp_query_machines (session.monitor, error);
    if (program->machines == NULL)
      return FALSE;
  }
  JsonObject *model = cpu_expand (session.monitor, cpu, &answers->cpu_error);
  if (model != NULL)
    g_hash_table_insert (program->cpus, g_strdup (cpu), model);
  return TRUE;
}

static gboolean
ask_locked (QemuFacts *facts, const char *path, const char *accel, const char *cpu,
            QemuAnswers *answers, GError **error)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&facts->lock);
  Program *program = find_program (facts, path, accel);

  if ((program->machines == NULL || !g_hash_table_contains (program->cpus, cpu)) &&
      !ask_program (program, path, accel, cpu, answers, error))
    return FALSE;

  JsonObject *model = g_hash_table_lookup (program->cpus, cpu);
  answers->major = program->major;
  answers->minor = program->minor;
  answers->micro = program->micro;
  answers->package = g_strdup (program->package);
  answers->machines = json_array_ref (program->machines);
  answers->cpu = model != NULL ? json_object_ref (model) : NULL;
  return TRUE;
}

gboolean
qemu_ask (QemuFacts *facts, const char *path, const char *accel, const char *cpu,
          QemuAnswers *answers, GError **error)
{
  g_autoptr (QemuFacts) own = facts == NULL ? qemu_facts_new() : NULL;

  *answers = (QemuAnswers){ 0 };
  if (ask_locked (facts != NULL ? facts : own, path, accel, cpu, answers, error))
    return TRUE;
  qemu_answers_clear (answers);
  return FALSE;
}

static GStrv
run_for_directories (const char *path)
{
  g_autoptr (GStrvBuilder) list = g_strv_builder_new();
  const char *argv[] = { path, "-L", "help", NULL };
  g_autofree char *output = NULL;

  if (g_spawn_sync (NULL, (char **)argv, NULL, G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL, &output,
                    NULL, NULL, NULL)) {
    g_auto (GStrv) lines = g_strsplit (output, "\n", DIRECTORIES_MAX);
    for (guint i = 0; lines[i] != NULL; i++)
      if (g_path_is_absolute (lines[i]))
        g_strv_builder_add (list, lines[i]);
  }
  return g_strv_builder_end (list);
}

GStrv
qemu_ask_directories (QemuFacts *facts, const char *path)
{
  if (facts == NULL)
    return run_for_directories (path);

  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&facts->lock);
  Program *program = find_program (facts, path, "any");
  if (program->directories == NULL)
    program->directories = run_for_directories (path);
  return g_strdupv (program->directories);
}

void
qemu_facts_confirm (QemuFacts *facts, const char *path, const QmpGreeting *greeting)
{
  static const char *const accels[] = { "kvm", "tcg", "any" };

  if (facts == NULL)
    return;
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&facts->lock);
  for (guint i = 0; i < G_N_ELEMENTS (accels); i++) {
    Program *program = find_program (facts, path, accels[i]);
    if (program->machines != NULL &&
        (program->major != greeting->major || program->minor != greeting->minor ||
         program->micro != greeting->micro || g_strcmp0 (program->package, greeting->package) != 0))
      program_clear (program);
  }
}
