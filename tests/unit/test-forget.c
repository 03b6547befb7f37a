/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which checkpoints of a store are judged, in which groups, and what is never let go by itself. */
#include "store-fixture.h"

#include "api-error.h"
#include "forget.h"
#include "runtime.h"
#include "store-private.h"

#include <vmckpt/store/claim.h>
#include <vmckpt/util/fd.h>

#include <glib/gstdio.h>
#include <unistd.h>

#define OTHER_UUID "6ba7b811-9dad-11d1-80b4-00c04fd430c8"
#define HOUR_US (3600 * (gint64)G_USEC_PER_SEC)

typedef struct {
  Daemon daemon;
  Store *store;
  FixtureDirectory *directory;
} Fixture;

static void
set_up (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  f->directory = fixture_directory_new();
  f->daemon.runtime = runtime_open (f->directory, NULL, &error);
  g_assert_no_error (error);
  f->daemon.stores = stores_new();
  f->daemon.registry = registry_new (f->daemon.runtime, f->daemon.stores);
  f->daemon.hydrations = hydrations_new (f->daemon.runtime, f->daemon.registry, f->daemon.stores);
  f->daemon.exports = disk_exports_new (f->daemon.runtime);
  f->store = fixture_store_new (backend_memory_new());
}

static void
tear_down (Fixture *f, gconstpointer data)
{
  store_unref (f->store);
  hydrations_free (f->daemon.hydrations);
  disk_exports_free (f->daemon.exports);
  registry_free (f->daemon.registry);
  stores_free (f->daemon.stores);
  runtime_free (f->daemon.runtime);
  fixture_directory_remove (f->directory);
}

/* A checkpoint without parts, @hour hours after the epoch; returns its id. */
static char *
add (Fixture *f, const char *guest, const char *uuid, gint64 hour, const char *mode,
     const char *tag)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreWriter) writer = store_writer_begin (f->store, &error);
  g_autoptr (Manifest) manifest = fixture_manifest_new (guest, hour * HOUR_US);

  g_assert_no_error (error);
  g_free (manifest->guest_uuid);
  g_free (manifest->mode);
  manifest->guest_uuid = g_strdup (uuid);
  manifest->mode = g_strdup (mode);
  manifest->tag = g_strdup (tag);
  store_writer_commit (writer, manifest, NULL, &error);
  g_assert_no_error (error);
  return g_strdup (manifest->id);
}

/* Asserts what is kept: for each checkpoint, oldest first, "GROUP: REASONS" or "GROUP: " if it
 * goes. */
static void
assert_verdicts (Fixture *f, const ForgetRules *rules, const char *const *wanted)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) damaged = NULL;
  g_autoptr (GPtrArray) verdicts = forget_judge (&f->daemon, f->store, rules, &damaged, &error);

  g_assert_no_error (error);
  g_assert_cmpuint (verdicts->len, ==, g_strv_length ((GStrv)wanted));
  for (guint i = 0; i < verdicts->len; i++) {
    const ForgetVerdict *verdict = verdicts->pdata[i];
    g_autofree char *reasons = g_strjoinv ("; ", verdict->reasons);
    g_autofree char *text = g_strdup_printf ("%s: %s", verdict->group, reasons);
    g_assert_cmpstr (text, ==, wanted[i]);
  }
  g_assert_cmpuint (damaged->len, ==, 0);
}

static void
test_groups (Fixture *f, gconstpointer data)
{
  g_autofree char *a = add (f, "g1", FIXTURE_UUID, 1, "live", "x");
  g_autofree char *b = add (f, "g2", FIXTURE_UUID, 2, "live", NULL);
  g_autofree char *c = add (f, "g2", OTHER_UUID, 3, "live", "x");
  ForgetRules rules = { .policy = { .count = { [RETENTION_LAST] = 1 } } };
  const char *const none[] = { "all checkpoints: ", "all checkpoints: ",
                               "all checkpoints: last checkpoint", NULL };
  const char *const guest[] = { "guest g1: last checkpoint",
                                "guest g2: ", "guest g2: last checkpoint", NULL };
  const char *const uuid[] = { "uuid " FIXTURE_UUID ": ", "uuid " FIXTURE_UUID ": last checkpoint",
                               "uuid " OTHER_UUID ": last checkpoint", NULL };
  const char *const host[] = { "host host, tags [x]: ", "host host, tags []: last checkpoint",
                               "host host, tags [x]: last checkpoint", NULL };

  assert_verdicts (f, &rules, none);
  g_assert_true (forget_parse_group ("guest", &rules.group, NULL));
  assert_verdicts (f, &rules, guest);
  g_assert_true (forget_parse_group ("uuid", &rules.group, NULL));
  assert_verdicts (f, &rules, uuid);
  g_assert_true (forget_parse_group ("tags,host", &rules.group, NULL));
  assert_verdicts (f, &rules, host);
  for (const char *const *bad = (const char *const[]){ "", "none,guest", "paths", "guest,", NULL };
       *bad != NULL; bad++) {
    g_autoptr (GError) error = NULL;
    g_assert_false (forget_parse_group (*bad, &rules.group, &error));
    g_assert_error (error, API_ERROR, API_USAGE);
  }
}

/* Only what was asked for is judged; the rest is not in any group. */
static void
test_selection (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) damaged = NULL;
  g_autofree char *a = add (f, "g1", FIXTURE_UUID, 1, "live", "x");
  g_autofree char *b = add (f, "g2", OTHER_UUID, 2, "live", "x");
  g_autofree char *c = add (f, "g2", OTHER_UUID, 3, "live", "y");
  g_autofree char *d = add (f, "g2", OTHER_UUID, 4, "live", NULL);
  g_auto (ForgetRules)
      rules = { .policy = { .count = { [RETENTION_LAST] = 1 } }, .group = FORGET_BY_GUEST };
  const char *const one[] = { "guest g1: last checkpoint", NULL };
  const char *const filtered[] = { "guest g2: ", "guest g2: last checkpoint", NULL };

  rules.guests = g_strsplit ("g1", ",", -1);
  assert_verdicts (f, &rules, one);
  g_strfreev (rules.guests);
  rules.guests = g_strsplit ("g2", ",", -1);
  /* Tags given later count, and those of a list belong together. */
  g_assert_true (store_tag_add (f->store, d, "z", &error));
  g_assert_true (store_tag_add (f->store, b, "z", &error));
  rules.filter = g_ptr_array_new_with_free_func ((GDestroyNotify)g_strfreev);
  g_ptr_array_add (rules.filter, g_strsplit ("z,x", ",", -1));
  g_ptr_array_add (rules.filter, g_strsplit ("y", ",", -1));
  assert_verdicts (f, &rules, filtered);
  g_strfreev (rules.guests);
  rules.guests = g_strsplit ("g2,g3", ",", -1);
  g_assert_null (forget_judge (&f->daemon, f->store, &rules, &damaged, &error));
  g_assert_error (error, API_ERROR, API_NOT_FOUND);
  g_assert_nonnull (strstr (error->message, "g3"));
}

/* The newest checkpoint of a guest that is off is kept, unless told; of one that runs it is not. */
static void
test_suspended (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *a = add (f, "g1", FIXTURE_UUID, 1, "suspend", NULL);
  g_autofree char *b = add (f, "g1", FIXTURE_UUID, 2, "suspend", NULL);
  g_autofree char *c = add (f, "g2", OTHER_UUID, 3, "suspend", NULL);
  g_autofree char *d = add (f, "g2", OTHER_UUID, 4, "live", "keep");
  ForgetRules rules = { .keep_suspended = TRUE };
  const char *const waits[] = { "all checkpoints: ", "all checkpoints: suspended guest",
                                "all checkpoints: ", "all checkpoints: has tags [keep]", NULL };
  const char *const runs[] = { "all checkpoints: ", "all checkpoints: ", "all checkpoints: ",
                               "all checkpoints: has tags [keep]", NULL };

  rules.policy.tags = g_ptr_array_new_with_free_func ((GDestroyNotify)g_strfreev);
  g_ptr_array_add (rules.policy.tags, g_strsplit ("keep", ",", -1));
  assert_verdicts (f, &rules, waits);
  rules.keep_suspended = FALSE;
  assert_verdicts (f, &rules, runs);
  rules.keep_suspended = TRUE;
  /* It runs elsewhere, as the store knows. */
  g_autoptr (Claim) claim = claim_new();
  claim->guest_uuid = g_strdup (FIXTURE_UUID);
  claim->guest = g_strdup ("g1");
  claim->host = g_strdup ("far");
  claim->boot_id = g_strdup ("boot");
  claim->runtime = g_strdup ("/run/x");
  claim->process = (ProcessId){ 1, 1 };
  g_assert_true (store_claim_take (f->store, claim, FALSE, &error));
  assert_verdicts (f, &rules, runs);
  g_assert_true (store_claim_release (f->store, claim, &error));
  assert_verdicts (f, &rules, waits);
  forget_rules_clear (&rules);
}

static void
put (Store *store, const char *prefix, guint number)
{
  g_autofree char *name = g_strdup_printf ("%s/%064u", prefix, number);
  g_autoptr (GBytes) nonsense = g_bytes_new_static ("nonsense", 8);

  g_assert_true (store_put (store, name, nonsense, NULL, NULL));
}

/* What cannot be read stays; a tag that cannot be read may keep something. */
static void
test_damage (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) damaged = NULL;
  g_autofree char *a = add (f, "g1", FIXTURE_UUID, 1, "live", NULL);
  ForgetRules rules = { .policy = { .count = { [RETENTION_LAST] = 1 } } };

  put (f->store, "manifests", 7);
  put (f->store, "tags", 8);
  g_autoptr (GPtrArray) verdicts = forget_judge (&f->daemon, f->store, &rules, &damaged, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (verdicts->len, ==, 1);
  g_assert_cmpuint (damaged->len, ==, 1);
  rules.group = FORGET_BY_TAGS;
  g_clear_pointer (&damaged, g_ptr_array_unref);
  g_assert_null (forget_judge (&f->daemon, f->store, &rules, &damaged, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_DAMAGED);
  g_assert_nonnull (strstr (error->message, "1 tag cannot be read"));
}

#define ADD(path, func) g_test_add ("/forget/" path, Fixture, NULL, set_up, func, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD ("groups", test_groups);
  ADD ("selection", test_selection);
  ADD ("suspended", test_suspended);
  ADD ("damage", test_damage);
  return g_test_run();
}
