/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A program is run once for what does not change; a script stands for it that counts. */
#include "tiny-guest.h"

#include "qemu-ask.h"

#include <vmckpt/qmp/commands.h>

#include <glib/gstdio.h>
#include <string.h>

typedef struct {
  char *directory, *script, *count;
  QemuFacts *facts;
} Fixture;

/* Writes the script anew, which makes it another program; @what: how it goes on. */
static void
write_script (Fixture *f, const char *what)
{
  g_autofree char *text = g_strdup_printf ("#!/bin/sh\necho >>%s\n%s\n", f->count, what);
  g_autoptr (GError) error = NULL;

  g_unlink (f->script);
  g_file_set_contents_full (f->script, text, -1, G_FILE_SET_CONTENTS_NONE, 0700, &error);
  g_assert_no_error (error);
}

static void
set_up (Fixture *f, gconstpointer data)
{
  f->directory = g_dir_make_tmp ("vmckpt-XXXXXX", NULL);
  f->script = g_build_filename (f->directory, "qemu", NULL);
  f->count = g_build_filename (f->directory, "count", NULL);
  f->facts = qemu_facts_new();
  write_script (f, "exec qemu-system-x86_64 \"$@\"");
}

static void
tear_down (Fixture *f, gconstpointer data)
{
  g_unlink (f->script);
  g_unlink (f->count);
  g_assert_cmpint (g_rmdir (f->directory), ==, 0);
  g_free (f->directory);
  g_free (f->script);
  g_free (f->count);
  qemu_facts_free (f->facts);
}

/* How often the program was run. */
static gsize
runs (Fixture *f)
{
  g_autofree char *text = NULL;
  gsize len = 0;

  g_file_get_contents (f->count, &text, &len, NULL);
  return len;
}

static void
ask (Fixture *f, const char *cpu)
{
  g_auto (QemuAnswers) answers = { 0 };
  g_autoptr (GError) error = NULL;

  qemu_ask (f->facts, f->script, "tcg", cpu, &answers, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (answers.major, >=, 6);
  g_assert_nonnull (answers.cpu);
  g_autofree char *machine = qmp_find_machine (answers.machines, "q35", NULL);
  g_assert_true (g_str_has_prefix (machine, "pc-q35-"));
}

static void
test_run_once (Fixture *f, gconstpointer data)
{
  if (skip_without_qemu())
    return;
  ask (f, "qemu64-v1");
  ask (f, "qemu64-v1");
  g_assert_cmpuint (runs (f), ==, 1);
  ask (f, "Nehalem-v1"); /* another question */
  ask (f, "Nehalem-v1");
  ask (f, "qemu64-v1");
  g_assert_cmpuint (runs (f), ==, 2);
  write_script (f, "exec qemu-system-x86_64 \"$@\" # changed");
  ask (f, "qemu64-v1");
  g_assert_cmpuint (runs (f), ==, 3);
}

static gpointer
ask_thread (gpointer data)
{
  ask (data, "qemu64-v1");
  return NULL;
}

/* Many who want to know at once: one runs it, the others wait. */
static void
test_at_once (Fixture *f, gconstpointer data)
{
  GThread *threads[4];

  if (skip_without_qemu())
    return;
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    threads[i] = g_thread_new ("ask", ask_thread, f);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    g_thread_join (threads[i]);
  g_assert_cmpuint (runs (f), ==, 1);
}

/* Failures are not remembered, of a program as little as of a model. */
static void
test_failures (Fixture *f, gconstpointer data)
{
  g_auto (QemuAnswers) answers = { 0 };
  g_autoptr (GError) error = NULL;

  if (skip_without_qemu())
    return;
  qemu_ask (f->facts, f->script, "tcg", "no-such-model", &answers, &error);
  g_assert_no_error (error);
  g_assert_null (answers.cpu);
  g_assert_error (answers.cpu_error, DRIVER_ERROR, DRIVER_ERROR_INVALID);
  ask (f, "qemu64-v1");
  g_assert_cmpuint (runs (f), ==, 2);
  qemu_answers_clear (&answers);
  write_script (f, "exit 1");
  for (guint i = 3; i < 5; i++) {
    g_assert_false (qemu_ask (f->facts, f->script, "tcg", "qemu64-v1", &answers, &error));
    g_assert_error (error, DRIVER_ERROR, DRIVER_ERROR_FAILED);
    g_clear_error (&error);
    g_assert_cmpuint (runs (f), ==, i);
  }
}

/* The script is as it was, but what it starts says that it is another QEMU. */
static void
test_confirm (Fixture *f, gconstpointer data)
{
  g_auto (QemuAnswers) answers = { 0 };
  g_autoptr (GError) error = NULL;

  if (skip_without_qemu())
    return;
  qemu_ask (f->facts, f->script, "tcg", "qemu64-v1", &answers, &error);
  g_assert_no_error (error);
  QmpGreeting greeting = { .major = answers.major,
                           .minor = answers.minor,
                           .micro = answers.micro,
                           .package = answers.package };
  qemu_facts_confirm (f->facts, f->script, &greeting);
  ask (f, "qemu64-v1");
  g_assert_cmpuint (runs (f), ==, 1);
  greeting.micro++;
  qemu_facts_confirm (f->facts, f->script, &greeting);
  qemu_facts_confirm (NULL, f->script, &greeting);
  ask (f, "qemu64-v1");
  g_assert_cmpuint (runs (f), ==, 2);
}

static void
test_directories (Fixture *f, gconstpointer data)
{
  if (skip_without_qemu())
    return;
  for (guint i = 0; i < 2; i++) {
    g_auto (GStrv) list = qemu_ask_directories (f->facts, f->script);
    g_assert_cmpuint (g_strv_length (list), >, 0);
    g_assert_true (g_path_is_absolute (list[0]));
    g_assert_cmpuint (runs (f), ==, 1);
  }
}

#define ADD(name, test) g_test_add ("/qemu-facts/" name, Fixture, NULL, set_up, test, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD ("run-once", test_run_once);
  ADD ("at-once", test_at_once);
  ADD ("failures", test_failures);
  ADD ("confirm", test_confirm);
  ADD ("directories", test_directories);
  return g_test_run();
}
