/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every verb against a daemon that answers as told: what is asked, what is printed, exit codes. */
#include "fake-daemon.h"
#include "frame-splitter.h"
#include "program.h"

#include <vmckpt/util/fd.h>

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define NDJSON "application/x-ndjson"
#define ID "0123456789abcdef0123456789abcdef"
#define REPORT                                                                                     \
  "\"id\":\"" ID "\",\"pause_ms\":2.5,\"wall_ms\":1500,\"ram_bytes\":1073741824,"                  \
  "\"new_bytes\":2097152,\"stored_bytes\":1048576"

typedef struct {
  FakeDaemon *fake;
  GCancellable *cancellable;
  KeyAskFunc ask;             /* (nullable) */
  char *out, *err, *requests; /* of the last run */
} Fixture;

static void
set_up (Fixture *f, gconstpointer data)
{
  f->fake = fake_daemon_new();
  f->cancellable = g_cancellable_new();
  fake_daemon_set_cancellable (f->fake, f->cancellable);
  g_setenv ("VMCKPT_RUNTIME", fake_daemon_runtime (f->fake), TRUE);
  g_setenv ("VMCKPT_STORE", "/s", TRUE);
}

static void
forget (Fixture *f)
{
  g_clear_pointer (&f->out, g_free);
  g_clear_pointer (&f->err, g_free);
  g_clear_pointer (&f->requests, g_free);
}

static void
tear_down (Fixture *f, gconstpointer data)
{
  forget (f);
  fake_daemon_free (f->fake);
  g_object_unref (f->cancellable);
}

static char *
contents (int fd)
{
  off_t size = lseek (fd, 0, SEEK_END);
  char *text = g_malloc0 (size + 1);

  g_assert_cmpint (pread (fd, text, size, 0), ==, size);
  return text;
}

/* Runs `vmckpt` with the words of @line, separated by "|"; returns its exit code. */
static int
run (Fixture *f, const char *line)
{
  g_auto (AutoFd) out = memfd_create ("out", MFD_CLOEXEC);
  g_auto (AutoFd) err = memfd_create ("err", MFD_CLOEXEC);
  const ProgramSetup setup = {
    .out_fd = out, .err_fd = err, .cancellable = f->cancellable, .ask = f->ask
  };
  g_autofree char *whole = g_strconcat ("vmckpt|", line, NULL);
  g_auto (GStrv) argv = g_strsplit (whole, "|", -1);
  int status;

  forget (f);
  status = program_run (argv, &setup);
  f->out = contents (out);
  f->err = contents (err);
  f->requests = fake_daemon_take_requests (f->fake);
  return status;
}

static void
expect_status (Fixture *f, const char *line, int wanted)
{
  int status = run (f, line);

  g_assert_cmpint (status, ==, wanted);
}

static void
answer (Fixture *f, const char *call, const char *body)
{
  fake_daemon_answer (f->fake, call, 200, NULL, body, FAKE_END);
}

static void
refuse (Fixture *f, const char *call, guint status, const char *kind)
{
  g_autofree char *body =
      g_strdup_printf ("{\"error\":{\"kind\":\"%s\",\"message\":\"it is so\"}}", kind);

  fake_daemon_answer (f->fake, call, status, NULL, body, FAKE_END);
}

static void
test_run (Fixture *f, gconstpointer data)
{
  g_autofree char *here = g_get_current_dir();
  g_autofree char *wanted = g_strdup_printf (
      "POST /v1/guests?store=/s {\"name\":\"g1\",\"ram_bytes\":2147483648,\"cpus\":2,"
      "\"kernel\":\"%s/k\",\"disks\":[\"%s/d,readonly\",\"/e\"],\"append\":\"a b\","
      "\"accel\":\"tcg\",\"paused\":true,\"extra\":[\"-nodefaults\"]}\n",
      here, here);

  fake_daemon_answer (f->fake, "POST /v1/guests", 201, NULL,
                      "{\"name\":\"g1\",\"state\":\"running\",\"ram_bytes\":1048576,\"pid\":7}",
                      FAKE_END);
  expect_status (f,
                 "run|g1|--ram|2G|--cpus|2|--kernel|k|--append|a b|--disk|d,readonly|"
                 "--disk=/e|--accel|tcg|--paused|--|-nodefaults",
                 0);
  g_assert_cmpstr (f->requests, ==, wanted);
  g_assert_cmpstr (f->out, ==, "g1\n");
  g_assert_cmpstr (f->err, ==, "g1 is running: 1.0 MiB of RAM, QEMU is process 7\n");
  expect_status (f, "run|g1|--ram|lots", 2);
  g_assert_cmpstr (f->requests, ==, "");
}

static void
test_ps (Fixture *f, gconstpointer data)
{
  answer (f, "GET /v1/guests",
          "{\"guests\":[{\"name\":\"g1\",\"state\":\"exited\",\"reason\":\"powered off\","
          "\"ram_bytes\":1024,\"cpus\":1,\"checkpoint\":\"" ID "\"},{\"name\":\"a\\u001bb\"}]}");
  expect_status (f, "ps", 0);
  g_assert_nonnull (strstr (f->out, "exited (powered off)  1.0 KiB"));
  g_assert_nonnull (strstr (f->out, "0123456789ab "));
  g_assert_nonnull (strstr (f->out, "a?b"));
  expect_status (f, "--json|ps", 0);
  g_assert_true (g_str_has_prefix (f->out, "{\"name\":\"g1\","));
  g_assert_nonnull (strstr (f->out, "\n{\"name\":\"a"));
}

/* A long reason comes below the table, which stays as wide as a terminal. */
static void
test_ps_tells_long_reasons (Fixture *f, gconstpointer data)
{
  answer (f, "GET /v1/guests",
          "{\"guests\":[{\"name\":\"g1\",\"state\":\"paused\",\"reason\":\"page 7: the store /a is "
          "gone or does not answer\",\"ram_bytes\":1024}]}");
  expect_status (f, "ps", 0);
  g_assert_nonnull (strstr (f->out, "g1    paused  1.0 KiB"));
  g_assert_true (g_str_has_suffix (
      f->out, "\ng1 is paused: page 7: the store /a is gone or does not answer\n"));
}

static void
test_counts (Fixture *f, gconstpointer data)
{
  static const char *const bad[] = { "0", "-1", "x", "", "1x", "99999999999" };

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autofree char *fork_line = g_strdup_printf ("--store|/s|fork|g@t|--count=%s", bad[i]);
    g_autofree char *periodic_line =
        g_strdup_printf ("--store|/s|checkpoint|g|--every|1s|--count=%s", bad[i]);
    expect_status (f, fork_line, 2);
    expect_status (f, periodic_line, 2);
    g_assert_cmpstr (f->requests, ==, "");
  }
}

/* All names are tried; the worst exit code is kept. */
static void
test_several_names (Fixture *f, gconstpointer data)
{
  answer (f, "DELETE /v1/guests/a", "{}");
  refuse (f, "DELETE /v1/guests/b", 404, "not-found");
  refuse (f, "DELETE /v1/guests/c", 500, "failed");
  expect_status (f, "kill|b|c|a", 3);
  g_assert_cmpstr (f->requests, ==,
                   "DELETE /v1/guests/b \nDELETE /v1/guests/c \nDELETE /v1/guests/a \n");
  g_assert_cmpstr (f->err, ==, "vmckpt: it is so\nvmckpt: it is so\na has ended\n");
}

static void
test_pause_and_continue (Fixture *f, gconstpointer data)
{
  answer (f, "POST /v1/guests/a/pause", "{\"name\":\"a\"}");
  answer (f, "POST /v1/guests/a/continue", "{\"name\":\"a\"}");
  expect_status (f, "pause|a", 0);
  g_assert_cmpstr (f->requests, ==, "POST /v1/guests/a/pause {}\n");
  expect_status (f, "continue|a|--json", 0);
  g_assert_cmpstr (f->out, ==, "{\"name\":\"a\"}\n");
}

static void
test_log (Fixture *f, gconstpointer data)
{
  const char *text = "l1\r\n\033[1m";

  fake_daemon_answer (f->fake, "GET /v1/guests/a/log", 200, "text/plain", text, FAKE_END);
  expect_status (f, "log|a", 0);
  g_assert_cmpstr (f->requests, ==, "GET /v1/guests/a/log?follow=false \n");
  g_assert_cmpstr (f->out, ==, text);
  answer (f, "GET /v1/guests/a", "{\"state\":\"exited\"}");
  expect_status (f, "log|a|-f", 0);
  g_assert_true (g_str_has_prefix (f->requests, "GET /v1/guests/a/log?follow=true \n"));
  g_assert_cmpstr (f->out, ==, text);
  /* An end that is not the guest's is the daemon's. */
  answer (f, "GET /v1/guests/a", "{\"state\":\"running\"}");
  expect_status (f, "log|a|-f", 1);
  g_assert_cmpstr (f->err, ==,
                   "vmckpt: log of a: the daemon has ended; the guest runs on, try again\n");
  fake_daemon_answer (f->fake, "GET /v1/guests/a/log", 200, "text/plain", "l1\n", FAKE_CANCEL);
  expect_status (f, "log|a|-f", 130);
}

static void
test_checkpoint (Fixture *f, gconstpointer data)
{
  const char *lines = "{\"type\":\"status\",\"phase\":\"store\"}\n"
                      "{\"type\":\"message\",\"text\":\"fell back\"}\n"
                      "{\"type\":\"result\"," REPORT "}\n";

  fake_daemon_answer (f->fake, "POST /v1/guests/a/checkpoint", 200, NDJSON, lines, FAKE_END);
  expect_status (f, "checkpoint|a|--tag|t|--note|n n", 0);
  g_assert_cmpstr (f->requests, ==,
                   "POST /v1/guests/a/checkpoint?store=/s "
                   "{\"mode\":\"live\",\"tag\":\"t\",\"note\":\"n n\"}\n");
  g_assert_cmpstr (f->out, ==, "0123456789ab\n");
  g_assert_cmpstr (f->err, ==,
                   "note: fell back\na: checkpoint in 1.5 s, paused for 2.5 ms; 1.0 GiB of RAM, "
                   "2.0 MiB new, 1.0 MiB stored\n");
  expect_status (f, "checkpoint|a|--stop|--json", 0);
  g_assert_cmpstr (f->out, ==, lines);
  g_assert_cmpstr (f->err, ==, "");
  expect_status (f, "checkpoint|a|-q", 0);
  g_assert_cmpstr (f->out, ==, "0123456789ab\n");
  g_assert_cmpstr (f->err, ==, "");
  expect_status (f, "checkpoint|a|--live|--stop", 2);
  g_assert_cmpstr (f->requests, ==, "");
}

/* What was read of the disks is told together. */
static void
test_checkpoint_disks (Fixture *f, gconstpointer data)
{
  const char *lines = "{\"type\":\"result\",\"disks\":[{\"name\":\"disk0\",\"read_bytes\":1048576},"
                      "{\"name\":\"disk1\",\"read_bytes\":524288}]," REPORT "}\n";

  fake_daemon_answer (f->fake, "POST /v1/guests/a/checkpoint", 200, NDJSON, lines, FAKE_END);
  expect_status (f, "checkpoint|a", 0);
  g_assert_cmpstr (f->err, ==,
                   "a: checkpoint in 1.5 s, paused for 2.5 ms; 1.0 GiB of RAM and 2 disks (1.5 MiB "
                   "read), 2.0 MiB new, 1.0 MiB stored\n");
}

static void
test_interrupted (Fixture *f, gconstpointer data)
{
  fake_daemon_answer (f->fake, "POST /v1/guests/a/checkpoint", 200, NDJSON,
                      "{\"type\":\"status\"}\n", FAKE_CANCEL);
  expect_status (f, "checkpoint|a", 130);
  g_assert_cmpstr (f->err, ==, "vmckpt: interrupted; the guest runs on\n");
  g_assert_true (fake_daemon_wait_left (f->fake));
}

/* What went to standard output is there already. */
static void
test_interrupted_export (Fixture *f, gconstpointer data)
{
  fake_daemon_answer (f->fake, "GET /v1/checkpoints/abcd/export", 200, FRAMES_TYPE, "",
                      FAKE_CANCEL);
  expect_status (f, "export|abcd|-o|-", 130);
  g_assert_cmpstr (f->err, ==, "vmckpt: interrupted; what was written is not whole\n");
}

static void
test_import_directory (Fixture *f, gconstpointer data)
{
  expect_status (f, "import|/", 2);
  g_assert_nonnull (strstr (f->err, "/ is a directory"));
  g_assert_cmpstr (f->requests, ==, "");
}

static void
test_no_store (Fixture *f, gconstpointer data)
{
  g_unsetenv ("VMCKPT_STORE");
  expect_status (f, "list", 2);
  g_assert_nonnull (strstr (f->err, "--store DIR or VMCKPT_STORE; make one with"));
  expect_status (f, "--json|checkpoint|a", 2);
  g_assert_nonnull (strstr (f->out, "{\"type\":\"error\",\"kind\":\"usage\","));
  expect_status (f, "list|--store|s3://bucket", 2);
  g_assert_cmpstr (f->requests, ==, "");
}

static void
test_suspend_and_resume (Fixture *f, gconstpointer data)
{
  static const char guests[] =
      "{\"type\":\"guest\",\"name\":\"a\",\"outcome\":\"saved\"," REPORT "}\n"
      "{\"type\":\"guest\",\"name\":\"b\",\"outcome\":\"shut-down\",\"reason\":\"too late\"}\n"
      "{\"type\":\"guest\",\"name\":\"d\",\"outcome\":\"gone\",\"reason\":\"migrated to h\"}\n"
      "{\"type\":\"guest\",\"name\":\"c\",\"outcome\":\"left\",\"reason\":\"no room\"}\n";
  g_autofree char *some =
      g_strconcat (guests, "{\"type\":\"result\",\"guests\":[{},{},{}],\"left\":1}\n", NULL);
  g_autofree char *none =
      g_strconcat (guests, "{\"type\":\"result\",\"guests\":[{},{},{}],\"left\":0}\n", NULL);

  fake_daemon_answer (f->fake, "POST /v1/suspend", 200, "application/x-ndjson", some, FAKE_END);
  expect_status (f, "suspend|--all|--tag|night|--deadline|90s|--parallel|2|--memory-limit|1G", 1);
  g_assert_cmpstr (f->requests, ==,
                   "POST /v1/suspend?store=/s {\"parallel\":2,\"memory_limit\":1073741824,"
                   "\"tag\":\"night\",\"deadline\":\"90s\"}\n");
  g_assert_cmpstr (f->out, ==, "0123456789ab\n");
  g_assert_nonnull (strstr (f->err, "b: shut down, not saved: too late\n"));
  g_assert_nonnull (strstr (f->err, "c: still here, not saved: no room"));
  g_assert_nonnull (strstr (f->err, "d: not here any more: migrated to h\n"));
  fake_daemon_answer (f->fake, "POST /v1/suspend", 200, "application/x-ndjson", none, FAKE_END);
  expect_status (f, "suspend|--all|--fallback|shutdown", 0);
  fake_daemon_answer (
      f->fake, "POST /v1/resume", 200, "application/x-ndjson",
      "{\"type\":\"guest\",\"name\":\"a\",\"outcome\":\"resumed\",\"id\":\"" ID "\","
      "\"guest\":{\"name\":\"a\",\"state\":\"running\"},\"wall_ms\":900,\"ram_bytes\":1024,"
      "\"clock\":{\"skew_ms\":-1500,\"set\":true,\"note\":null}}\n"
      "{\"type\":\"guest\",\"name\":\"b\",\"outcome\":\"failed\",\"reason\":\"no disk\"}\n"
      "{\"type\":\"result\",\"guests\":[{},{}],\"resumed\":1,\"failed\":1}\n",
      FAKE_END);
  expect_status (f, "resume|--all|--last|--sync-time|yes", 1);
  g_assert_cmpstr (f->requests, ==,
                   "POST /v1/resume?store=/s {\"sync_time\":true,\"last\":true}\n");
  g_assert_cmpstr (f->out, ==, "a\n");
  g_assert_nonnull (strstr (f->err, "  its clock is set right; it was -1.500 s off\n"));
  g_assert_nonnull (strstr (f->err, "b: no disk\n"));
  answer (f, "POST /v1/guests/a/resume", "{\"guest\":{\"name\":\"a\"}}");
  expect_status (f, "resume|a|--sync-time|no", 0);
  g_assert_cmpstr (f->requests, ==, "POST /v1/guests/a/resume?store=/s {\"sync_time\":false}\n");
  expect_status (f, "resume|a|--sync-time|maybe", 2);
  expect_status (f, "resume|a|--last", 2);
  expect_status (f, "suspend|a|--deadline|1s", 2);
  expect_status (f, "suspend", 2);
  expect_status (f, "resume|a|--all", 2);
}

static void
test_restore (Fixture *f, gconstpointer data)
{
  answer (f, "POST /v1/checkpoints/a@t/restore",
          "{\"id\":\"" ID "\",\"guest\":{\"name\":\"b\",\"state\":\"paused\"},\"wall_ms\":900,"
          "\"ram_bytes\":1024}");
  expect_status (f, "restore|a@t|--as|b|--paused|--qemu|/q|--accel|tcg|--take-over", 0);
  g_assert_cmpstr (f->requests, ==,
                   "POST /v1/checkpoints/a@t/restore?store=/s {\"as\":\"b\",\"qemu\":\"/q\","
                   "\"accel\":\"tcg\",\"paused\":true,\"take_over\":true}\n");
  g_assert_cmpstr (f->out, ==, "b\n");
  g_assert_cmpstr (f->err, ==,
                   "b is paused as of checkpoint 0123456789ab, after 900 ms; 1.0 KiB of RAM\n");
  refuse (f, "POST /v1/checkpoints/x/restore", 501, "not-possible");
  expect_status (f, "restore|x", 5);
}

static void
test_list (Fixture *f, gconstpointer data)
{
  answer (f, "GET /v1/checkpoints",
          "{\"checkpoints\":[{\"id\":\"" ID "\",\"guest\":\"a\",\"tags\":[\"t\",\"u\"]}],"
          "\"damaged\":[]}");
  expect_status (f, "list|a", 0);
  g_assert_cmpstr (f->requests, ==, "GET /v1/checkpoints?store=/s&guest=a \n");
  g_assert_nonnull (strstr (f->out, "\n0123456789ab  a "));
  g_assert_nonnull (strstr (f->out, "t, u"));
  answer (f, "GET /v1/checkpoints", "{\"checkpoints\":[],\"damaged\":[\"abcd\"]}");
  expect_status (f, "list", 4);
  g_assert_nonnull (strstr (f->err, "1 checkpoint cannot be read: abcd"));
}

static void
test_show_and_diff (Fixture *f, gconstpointer data)
{
  answer (f, "GET /v1/checkpoints/ab",
          "{" REPORT ",\"guest\":\"a\",\"parts\":[{\"role\":\"ram\",\"name\":\"pc.ram\","
          "\"length\":1024,\"root\":\"ff\"}],\"machine\":{\"cpu\":\"max\"}}");
  expect_status (f, "show|ab", 0);
  g_assert_nonnull (strstr (f->out, "id           " ID "\n"));
  g_assert_nonnull (strstr (f->out, "pc.ram  1.0 KiB"));
  g_assert_nonnull (strstr (f->out, "\"cpu\" : \"max\""));
  answer (f, "GET /v1/checkpoints/ab/diff/cd",
          "{\"a\":\"ab\",\"b\":\"cd\",\"parts\":[{\"role\":\"ram\",\"name\":\"pc.ram\","
          "\"a_bytes\":4096,\"b_bytes\":4096,\"changed_bytes\":2048}],\"changed_bytes\":2048,"
          "\"machine\":[\"the CPU differs\"]}");
  expect_status (f, "diff|ab|cd", 0);
  g_assert_nonnull (strstr (f->out, "2.0 KiB changed in all\nmachine: the CPU differs\n"));
}

static void
test_verify_tag_and_rm (Fixture *f, gconstpointer data)
{
  answer (f, "POST /v1/checkpoints/ab/verify", "{\"id\":\"ab\",\"bytes\":1024}");
  refuse (f, "POST /v1/checkpoints/cd/verify", 422, "damaged");
  expect_status (f, "verify|ab|cd", 4);
  g_assert_cmpstr (f->out, ==, "ab\n");
  answer (f, "POST /v1/checkpoints/ab/tags", "{\"id\":\"ab\",\"tags\":[\"t\"]}");
  expect_status (f, "tag|ab|t", 0);
  g_assert_cmpstr (f->requests, ==, "POST /v1/checkpoints/ab/tags?store=/s {\"tag\":\"t\"}\n");
  answer (f, "DELETE /v1/checkpoints/ab", "{\"id\":\"ab\"}");
  expect_status (f, "rm|ab", 0);
  g_assert_cmpstr (f->out, ==, "ab\n");
}

static void
test_store (Fixture *f, gconstpointer data)
{
  answer (f, "POST /v1/store/init", "{\"location\":\"/new\",\"id\":\"ab\"}");
  expect_status (f, "store|init|/new", 0);
  g_assert_cmpstr (f->requests, ==, "POST /v1/store/init?store=/new {}\n");
  answer (f, "POST /v1/store/check", "{\"findings\":[],\"read_data\":true}");
  expect_status (f, "store|check|--read-data", 0);
  g_assert_cmpstr (f->requests, ==, "POST /v1/store/check?store=/s {\"read_data\":true}\n");
  answer (f, "POST /v1/store/check",
          "{\"findings\":[{\"object\":\"pack x\",\"problem\":\"cut\",\"checkpoints\":[\"ab\"]}]}");
  expect_status (f, "store|check", 4);
  g_assert_cmpstr (f->out, ==, "pack x: cut\n  hurts ab\n");
  g_assert_nonnull (strstr (f->err, "which pages are hurt"));
  answer (f, "POST /v1/store/check",
          "{\"findings\":[{\"object\":\"pack x\",\"problem\":\"cut\",\"checkpoints\":[]}]}");
  expect_status (f, "store|check", 4);
  g_assert_nonnull (strstr (f->err, "no checkpoint is hurt"));
  g_assert_nonnull (strstr (f->err, "then 'vmckpt store gc'"));
  answer (f, "POST /v1/store/check", "{\"findings\":[],\"read_data\":true}");
  expect_status (f, "store|check|--subset|2/3", 0);
  g_assert_nonnull (strstr (f->err, "part 2 of 3 of the data was read"));
  answer (f, "POST /v1/store/check", "{\"findings\":[],\"read_data\":true}");
  expect_status (f, "store|check|--subset|10%", 0);
  g_assert_nonnull (strstr (f->err, "10% of the data was read"));
  answer (f, "POST /v1/store/gc", "{\"deleted_packs\":1,\"freed_bytes\":1024}");
  expect_status (f, "store|gc|--dry-run", 0);
  g_assert_cmpstr (f->requests, ==, "POST /v1/store/gc?store=/s {\"dry_run\":true}\n");
  answer (f, "POST /v1/store/stats", "{\"checkpoints\":3,\"unused_bytes\":1024}");
  expect_status (f, "store|stats|--unused", 0);
  g_assert_cmpstr (f->requests, ==, "POST /v1/store/stats?store=/s {\"unused\":true}\n");
  g_assert_nonnull (strstr (f->out, "gc frees          1.0 KiB\n"));
}

static guint times_asked;

static Secret *
answer_secret (const char *prompt, GError **error)
{
  times_asked++;
  return secret_new_copy ("hunter2", 7);
}

/* Somebody is asked for a password when the store wants one, once, and it is sent with what
 * follows; not if a key was given. */
static void
test_keys (Fixture *f, gconstpointer data)
{
  f->ask = answer_secret;
  times_asked = 0;
  refuse (f, "GET /v1/store/keys", 403, "key");
  expect_status (f, "store|key|list", 6);
  g_assert_cmpuint (times_asked, ==, 1);
  /* Twice, the second time with the key: "hunter2" in base64. */
  g_assert_cmpstr (f->requests, ==,
                   "GET /v1/store/keys?store=/s \n"
                   "GET /v1/store/keys?store=/s  key: password aHVudGVyMg==\n");
  answer (f, "GET /v1/store/keys", "{\"keys\":[]}");
  answer (f, "POST /v1/store/keys/change", "{\"id\":\"ab\"}");
  expect_status (f, "store|key|passwd", 0);
  g_assert_cmpuint (times_asked, ==, 3);
  g_assert_cmpstr (f->requests, ==,
                   "GET /v1/store/keys?store=/s \n"
                   "POST /v1/store/keys/change?store=/s {} new: password aHVudGVyMg==\n");
  answer (f, "POST /v1/store/init", "{\"location\":\"/s\",\"id\":\"ab\"}");
  expect_status (f, "store|init|--encrypt|--label|l", 0);
  g_assert_cmpstr (f->requests, ==,
                   "POST /v1/store/init?store=/s {\"encrypt\":true,\"label\":\"l\"} key: password "
                   "aHVudGVyMg==\n");
  answer (f, "DELETE /v1/store/keys/abcd", "{\"id\":\"abcd\"}");
  expect_status (f, "store|key|remove|../x", 3);
  g_assert_nonnull (strstr (f->err, "there is no key '../x'"));
  expect_status (f, "store|key|remove|abcd", 0);
  g_assert_cmpstr (f->requests, ==, "DELETE /v1/store/keys/abcd?store=/s \n");
  f->ask = NULL;
  expect_status (f, "store|key|add", 2); /* nobody to ask for the new one */
  g_assert_cmpstr (f->requests, ==, "GET /v1/store/keys?store=/s \n");
  refuse (f, "GET /v1/store/keys", 403, "key");
  expect_status (f, "store|key|list", 6);
}

static void
test_forget (Fixture *f, gconstpointer data)
{
  answer (f, "POST /v1/store/forget",
          "{\"checkpoints\":[{\"id\":\"" ID "\",\"group\":\"guest b\",\"keep\":false},"
          "{\"id\":\"ff" ID "\",\"group\":\"guest a\",\"keep\":true,"
          "\"reasons\":[\"last checkpoint\",\"daily checkpoint\"]}],"
          "\"removed\":1,\"removed_bytes\":1024,\"damaged\":[],\"gc\":null}");
  expect_status (f,
                 "forget|a|b|--keep-last|3|--keep-daily=unlimited|--keep-yearly|-1|--keep-within|"
                 "2y|--keep-within-hourly|1d|--keep-tag|x,y|--keep-tag|z|--tag|t|--group-by|none|"
                 "--no-keep-suspended|--dry-run",
                 0);
  g_assert_cmpstr (f->requests, ==,
                   "POST /v1/store/forget?store=/s {\"guests\":[\"a\",\"b\"],\"keep_last\":3,"
                   "\"keep_daily\":-1,\"keep_yearly\":-1,\"keep_within\":\"2y\","
                   "\"keep_within_hourly\":\"1d\",\"keep_tags\":[\"x,y\",\"z\"],"
                   "\"tags\":[\"t\"],\"group_by\":\"none\",\"keep_suspended\":false,"
                   "\"dry_run\":true,\"gc\":false}\n");
  /* By group. */
  const char *kept = strstr (f->out, "keep    last checkpoint, daily checkpoint");
  const char *removed = strstr (f->out, "remove");
  g_assert_true (kept != NULL && removed != NULL && kept < removed);
  g_assert_nonnull (strstr (f->err, "would delete 1 of 2 checkpoints, which had stored 1.0 KiB"));
  expect_status (f, "forget|--keep-last|1|--gc|-q", 0);
  g_assert_cmpstr (f->out, ==, "0123456789ab\n");
  g_assert_cmpstr (f->err, ==, "");
  expect_status (f, "forget|--keep-last|some", 2);
  g_assert_cmpstr (f->requests, ==, "");
  answer (f, "POST /v1/store/forget",
          "{\"checkpoints\":[],\"removed\":0,\"removed_bytes\":0,\"damaged\":[\"" ID "\"],"
          "\"gc\":{\"freed_bytes\":2048}}");
  expect_status (f, "forget|--keep-last|1", 4);
  g_assert_nonnull (strstr (f->err, "freed 2.0 KiB"));
  g_assert_nonnull (strstr (f->err, "0123456789ab"));
  refuse (f, "POST /v1/store/forget", 400, "usage");
  expect_status (f, "forget", 2);
}

static void
test_quota (Fixture *f, gconstpointer data)
{
  static const char quota[] = "{\"store_bytes\":1536,\"store_limit\":2048,\"guests\":["
                              "{\"guest\":\"a\",\"bytes\":512,\"limit\":1024},"
                              "{\"guest\":\"b\",\"bytes\":0,\"limit\":null}]}";

  answer (f, "GET /v1/store/quota", quota);
  expect_status (f, "store|quota", 0);
  g_assert_cmpstr (f->requests, ==, "GET /v1/store/quota?store=/s \n");
  g_assert_cmpstr (f->out, ==,
                   "WHAT        USED    LIMIT  OF IT\n"
                   "store    1.5 KiB  2.0 KiB    75%\n"
                   "guest a    512 B  1.0 KiB    50%\n"
                   "guest b      0 B        -      -\n");
  answer (f, "POST /v1/store/quota", quota);
  expect_status (f, "store|quota|--store-limit|2K|--guest|a=1K|--guest=b=none", 0);
  g_assert_cmpstr (f->requests, ==,
                   "POST /v1/store/quota?store=/s "
                   "{\"store_limit\":2048,\"guests\":{\"a\":1024,\"b\":null}}\n");
  expect_status (f, "store|quota|--store-limit|none", 0);
  g_assert_cmpstr (f->requests, ==, "POST /v1/store/quota?store=/s {\"store_limit\":null}\n");
  expect_status (f, "store|quota|--store-limit|0", 2);
  expect_status (f, "store|quota|--store-limit|lots", 2);
  expect_status (f, "store|quota|--guest|a", 2);
  g_assert_cmpstr (f->requests, ==, "");
}

static void
test_doctor (Fixture *f, gconstpointer data)
{
  answer (
      f, "GET /v1/doctor",
      "{\"checks\":[{\"check\":\"kvm\",\"ok\":false,\"found\":\"no /dev/kvm\",\"for\":\"speed\","
      "\"mend\":\"load kvm\"}]}");
  expect_status (f, "doctor|--qemu|/q", 0);
  g_assert_cmpstr (f->requests, ==, "GET /v1/doctor?qemu=/q \n");
  g_assert_cmpstr (f->out, ==,
                   "lacks  kvm: no /dev/kvm\n       for speed\n       mend: load kvm\n");
}

/* It is said that whoever is suspended by then stays so. */
static void
test_suspend_all_interrupted (Fixture *f, gconstpointer data)
{
  fake_daemon_answer (f->fake, "POST /v1/suspend", 200, "application/x-ndjson", "", FAKE_CANCEL);
  expect_status (f, "--store|/s|suspend|--all", 130);
  g_assert_nonnull (strstr (f->err, "0 guests are suspended and stay so\n"));
  g_assert_nonnull (strstr (f->err, "who is not suspended runs on"));
}

static void
test_set (Fixture *f, gconstpointer data)
{
  answer (f, "POST /v1/guests/a/settings", "{\"priority\":7,\"start_delay_ms\":2000}");
  expect_status (f, "set|a|--priority|7|--start-delay|2s", 0);
  g_assert_cmpstr (f->requests, ==,
                   "POST /v1/guests/a/settings {\"priority\":7,\"start_delay\":\"2s\"}\n");
  expect_status (f, "set|a|--priority|1001", 2);
  expect_status (f, "set|a", 2);
}

/* In the scripts that quote what help says: each line ends outside of quotes. */
static void
test_completion_quotes (Fixture *f, gconstpointer data)
{
  static const char *const shells[] = { "completion|zsh", "completion|fish" };

  for (guint i = 0; i < G_N_ELEMENTS (shells); i++) {
    expect_status (f, shells[i], 0);
    g_assert_nonnull (strstr (f->out, "\\'"));
    g_auto (GStrv) lines = g_strsplit (f->out, "\n", -1);
    for (guint j = 0; lines[j] != NULL; j++) {
      guint quotes = 0;
      for (const char *at = strchr (lines[j], '\''); at != NULL; at = strchr (at + 1, '\''))
        quotes += at == lines[j] || at[-1] != '\\';
      if (quotes % 2 != 0)
        g_error ("%s: a quote is left open: %s", shells[i], lines[j]);
    }
  }
}

static void
test_offline (Fixture *f, gconstpointer data)
{
  expect_status (f, "--version", 0);
  g_assert_cmpstr (f->out, ==, "vmckpt " VMCKPT_VERSION "\n");
  expect_status (f, "help|store|gc", 0);
  g_assert_true (g_str_has_prefix (f->out, "Usage: vmckpt store gc"));
  expect_status (f, "completion|bash", 0);
  expect_status (f, "completion|tcsh", 2);
  expect_status (f, "nonsense", 2);
  g_assert_cmpstr (f->requests, ==, "");
}

/* The input of the test is no terminal: it is sent to its end, then the console is left. */
static void
test_console (Fixture *f, gconstpointer data)
{
  int ends[2];
  g_auto (AutoFd) kept = dup (STDIN_FILENO);

  answer (f, "GET /v1/guests/a", "{\"name\":\"a\",\"state\":\"running\"}");
  answer (f, "GET /v1/guests/b", "{\"name\":\"b\",\"state\":\"exited\"}");
  fake_daemon_console (f->fake, "/v1/consoles/a", "login: ");
  g_assert_cmpint (pipe (ends), ==, 0);
  dup2 (ends[0], STDIN_FILENO);
  close (ends[0]);
  g_assert_true (fd_write_full (ends[1], "abcq", 4, NULL));
  /* The input stays open: the guest ends it. */
  expect_status (f, "console|a", 0);
  g_assert_cmpstr (f->out, ==, "login: ABCQ");
  g_assert_cmpstr (f->err, ==, "the console of a has ended\n");
  close (ends[1]);
  expect_status (f, "console|a|-q", 0);
  expect_status (f, "console|b", 1);
  dup2 (kept, STDIN_FILENO);
}

#define ADD(name, func) g_test_add ("/cli-verbs/" name, Fixture, NULL, set_up, func, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD ("run", test_run);
  ADD ("ps", test_ps);
  ADD ("ps-tells-long-reasons", test_ps_tells_long_reasons);
  ADD ("counts", test_counts);
  ADD ("completion-quotes", test_completion_quotes);
  ADD ("suspend-all-interrupted", test_suspend_all_interrupted);
  ADD ("set", test_set);
  ADD ("several-names", test_several_names);
  ADD ("pause-and-continue", test_pause_and_continue);
  ADD ("log", test_log);
  ADD ("checkpoint", test_checkpoint);
  ADD ("checkpoint-disks", test_checkpoint_disks);
  ADD ("interrupted", test_interrupted);
  ADD ("interrupted-export", test_interrupted_export);
  ADD ("import-directory", test_import_directory);
  ADD ("no-store", test_no_store);
  ADD ("suspend-and-resume", test_suspend_and_resume);
  ADD ("restore", test_restore);
  ADD ("list", test_list);
  ADD ("show-and-diff", test_show_and_diff);
  ADD ("verify-tag-and-rm", test_verify_tag_and_rm);
  ADD ("store", test_store);
  ADD ("keys", test_keys);
  ADD ("forget", test_forget);
  ADD ("quota", test_quota);
  ADD ("doctor", test_doctor);
  ADD ("offline", test_offline);
  ADD ("console", test_console);
  return g_test_run();
}
