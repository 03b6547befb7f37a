/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Starting a daemon, played by shell scripts. */
#include "cli-error.h"
#include "daemon-start.h"

#include <vmckpt/util/fd.h>

#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
  char *top;     /* for everything */
  char *runtime; /* not there yet */
  char *program;
  GCancellable *cancellable;
} Fixture;

static void
set_up (Fixture *f, gconstpointer data)
{
  f->top = g_dir_make_tmp ("vmckpt-start-XXXXXX", NULL);
  f->runtime = g_build_filename (f->top, "run", NULL);
  f->program = g_build_filename (f->top, "daemon", NULL);
  f->cancellable = g_cancellable_new();
}

static void
remove_in (const char *folder, const char *name)
{
  g_autofree char *path = g_build_filename (folder, name, NULL);

  g_unlink (path);
}

static void
tear_down (Fixture *f, gconstpointer data)
{
  remove_in (f->runtime, "vmckptd.log");
  remove_in (f->runtime, "api.sock");
  remove_in (f->runtime, "called");
  g_rmdir (f->runtime);
  g_unlink (f->program);
  g_rmdir (f->top);
  g_object_unref (f->cancellable);
  g_free (f->top);
  g_free (f->runtime);
  g_free (f->program);
}

/* Starts a daemon that is the shell script @body; its argument 2 is the runtime directory. */
static gboolean
start (Fixture *f, const char *body, guint deadline_ms, GError **error)
{
  g_autofree char *script = g_strconcat ("#!/bin/sh\n", body, "\n", NULL);

  g_assert_true (g_file_set_contents (f->program, script, -1, NULL));
  g_assert_cmpint (chmod (f->program, 0755), ==, 0);
  return daemon_start_program (f->program, f->runtime, deadline_ms, f->cancellable, error);
}

static void
test_ready (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *called = g_build_filename (f->runtime, "called", NULL);
  g_autofree char *arguments = NULL;
  g_autofree char *wanted =
      g_strdup_printf ("--runtime %s --idle-exit 60 --ready-fd 3 in /\n", f->runtime);
  struct stat info;

  g_assert_true (start (f, "echo \"$* in $PWD\" > $2/called; echo ready >&3", 10000, &error));
  g_assert_no_error (error);
  g_assert_true (g_file_get_contents (called, &arguments, NULL, NULL));
  g_assert_cmpstr (arguments, ==, wanted);
  g_assert_cmpint (stat (f->runtime, &info), ==, 0);
  g_assert_cmpint (info.st_mode & 0777, ==, 0700);
}

/* A failed start shows what this daemon wrote, not what one before it did. */
static void
test_failed (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) first = NULL;
  g_autoptr (GError) error = NULL;

  g_assert_false (start (f, "echo old trouble >&2; exit 1", 10000, &first));
  g_assert_nonnull (strstr (first->message, "old trouble"));
  g_assert_false (start (f, "echo new trouble >&2; exit 3", 10000, &error));
  g_assert_error (error, CLI_ERROR, CLI_ERROR_FAILED);
  g_assert_nonnull (strstr (error->message, "ended with status 3"));
  g_assert_nonnull (strstr (error->message, "new trouble"));
  g_assert_null (strstr (error->message, "old trouble"));
}

static void
test_killed (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  g_assert_false (start (f, "kill -9 $$", 10000, &error));
  g_assert_nonnull (strstr (error->message, "killed by signal 9"));
}

static void
test_late (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  g_assert_false (start (f, "exec sleep 60", 100, &error));
  g_assert_error (error, CLI_ERROR, CLI_ERROR_FAILED);
  g_assert_nonnull (strstr (error->message, "was not ready"));
}

/* Another daemon was faster: it is used. */
static void
test_race (Fixture *f, gconstpointer data)
{
  g_autofree char *socket = g_build_filename (f->runtime, "api.sock", NULL);
  g_autoptr (GError) error = NULL;
  g_auto (AutoFd) listener = -1;

  g_assert_cmpint (g_mkdir (f->runtime, 0700), ==, 0);
  listener = fd_listen_unix (socket, NULL);
  g_assert_cmpint (listener, >=, 0);
  g_assert_true (start (f, "exit 75", 10000, &error));
  g_assert_no_error (error);
  fd_close (&listener);
  g_assert_false (start (f, "exit 75", 100, &error));
  g_assert_nonnull (strstr (error->message, "does not answer"));
}

/* Another daemon had the lock but was about to end: a new one is started. */
static void
test_ending (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (start (f,
                        "[ -e $2/called ] || { : >$2/called; exit 75; }\n"
                        "echo ready >&3",
                        20000, &error));
  g_assert_no_error (error);
}

static gboolean
cancel (gpointer cancellable)
{
  g_cancellable_cancel (cancellable);
  return G_SOURCE_REMOVE;
}

static void
test_interrupted (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  g_idle_add (cancel, f->cancellable);
  g_assert_false (start (f, "exec sleep 2", 60000, &error));
  g_assert_cmpint (cli_error_code (error), ==, CLI_ERROR_INTERRUPTED);
}

static void
test_no_directory (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  g_assert_false (
      daemon_start_program ("/bin/true", "/proc/nowhere", 1000, f->cancellable, &error));
  g_assert_nonnull (strstr (error->message, "making the runtime directory /proc/nowhere"));
}

#define ADD(name, func)                                                                            \
  g_test_add ("/cli-daemon-start/" name, Fixture, NULL, set_up, func, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD ("ready", test_ready);
  ADD ("failed", test_failed);
  ADD ("killed", test_killed);
  ADD ("late", test_late);
  ADD ("race", test_race);
  ADD ("ending", test_ending);
  ADD ("interrupted", test_interrupted);
  ADD ("no-directory", test_no_directory);
  return g_test_run();
}
