/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Claims: of several that want a guest exactly one gets it, and the dead do not hold on. */
#include "store-fixture.h"

#include "store-private.h"

#include <vmckpt/store/claim.h>

#include <unistd.h>

static Claim *
claim_for (const char *host, const char *boot_id, const char *runtime, ProcessId process)
{
  Claim *claim = claim_new();

  claim->guest_uuid = g_strdup (FIXTURE_UUID);
  claim->guest = g_strdup ("g1");
  claim->host = g_strdup (host);
  claim->boot_id = g_strdup (boot_id);
  claim->runtime = g_strdup (runtime);
  claim->process = process;
  claim->since_us = 1700000000000000;
  return claim;
}

/* Of this machine and boot, by a process that lives. */
static Claim *
claim_here (const char *runtime)
{
  g_autofree char *boot_id = process_boot_id();
  return claim_for (g_get_host_name(), boot_id, runtime, process_id_of (getpid()));
}

static void
assert_holder (Store *store, const char *runtime)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Claim) claim = store_claim_get (store, FIXTURE_UUID, &error);

  g_assert_no_error (error);
  g_assert_cmpstr (claim != NULL ? claim->runtime : NULL, ==, runtime);
}

static void
test_take_and_release (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autoptr (Claim) mine = claim_here ("/run/a");
  g_autoptr (Claim) other = claim_here ("/run/b");
  g_autoptr (GError) error = NULL;

  assert_holder (store, NULL);
  g_assert_true (store_claim_take (store, mine, FALSE, &error));
  g_assert_true (store_claim_take (store, mine, FALSE, &error)); /* one's own */
  assert_holder (store, "/run/a");
  g_assert_false (store_claim_take (store, other, FALSE, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_CLAIMED);
  g_assert_nonnull (strstr (error->message, "g1"));
  g_assert_nonnull (strstr (error->message, g_get_host_name()));
  g_assert_nonnull (strstr (error->message, "/run/a"));
  g_assert_nonnull (strstr (error->message, "2023-11-14"));
  g_clear_error (&error);
  /* Not the holder's to give up. */
  g_assert_true (store_claim_release (store, other, &error));
  assert_holder (store, "/run/a");
  /* Nor one's own of an earlier run. */
  mine->since_us++;
  g_assert_true (store_claim_release (store, mine, &error));
  assert_holder (store, "/run/a");
  mine->since_us--;
  g_assert_true (store_claim_release (store, mine, &error));
  assert_holder (store, NULL);
  g_assert_true (store_claim_take (store, other, FALSE, &error));
  assert_holder (store, "/run/b");
  /* Objects do not pile up. */
  g_assert_cmpuint (fixture_count_objects (store->backend, "claims/"), ==, 2);
}

static void
test_dead_holders (void)
{
  g_autoptr (GError) error = NULL;
  ProcessId gone = process_id_of (getpid());
  g_autofree char *boot_id = process_boot_id();
  gone.start_ticks++;
  g_autoptr (Claim) same_boot = claim_for (g_get_host_name(), boot_id, "/run/x", gone);
  g_autoptr (Claim) other_boot = claim_for (g_get_host_name(), "before", "/run/x", gone);
  Claim *dead[] = { same_boot, other_boot };

  for (guint i = 0; i < G_N_ELEMENTS (dead); i++) {
    g_autoptr (Store) store = fixture_store_new (backend_memory_new());
    g_autoptr (Claim) mine = claim_here ("/run/a");
    g_assert_true (store_claim_take (store, dead[i], FALSE, &error));
    g_assert_true (store_claim_take (store, mine, FALSE, &error));
    g_assert_no_error (error);
    assert_holder (store, "/run/a");
  }
}

static void
test_take_over (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autoptr (Claim) far = claim_for ("far", "boot", "/run/x", (ProcessId){ 1, 1 });
  g_autoptr (Claim) mine = claim_here ("/run/a");
  g_autoptr (GError) error = NULL;

  g_assert_true (store_claim_take (store, far, FALSE, &error));
  g_assert_false (store_claim_take (store, mine, FALSE, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_CLAIMED);
  g_clear_error (&error);
  g_assert_true (store_claim_take (store, mine, TRUE, &error));
  assert_holder (store, "/run/a");
}

/* Two machines may have one name. */
static void
test_same_name (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autoptr (Claim) other = claim_for (g_get_host_name(), "boot", "/run/x", (ProcessId){ 1, 1 });
  g_autoptr (Claim) mine = claim_here ("/run/a");
  g_autoptr (GError) error = NULL;

  other->machine = g_strdup ("0123456789abcdef0123456789abcdef");
  g_assert_true (store_claim_take (store, other, FALSE, &error));
  g_autoptr (Claim) read = store_claim_get (store, FIXTURE_UUID, &error);
  g_assert_cmpstr (read->machine, ==, other->machine);
  g_assert_false (store_claim_take (store, mine, FALSE, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_CLAIMED);
}

/* A claim that nobody can read is not anybody's for ever. */
static void
test_damaged (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autoptr (GBytes) junk = g_bytes_new_static ("junk", 4);
  g_autoptr (Claim) mine = claim_here ("/run/a");
  g_autoptr (GError) error = NULL;
  gboolean existed;

  store->backend->ops->put_if_absent (store->backend, "claims/" FIXTURE_UUID "/3", junk, &existed,
                                      &error);
  g_assert_false (store_claim_take (store, mine, FALSE, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_DAMAGED);
  g_assert_nonnull (strstr (error->message, "--take-over"));
  g_assert_nonnull (strstr (error->message, "claims/" FIXTURE_UUID "/3"));
  g_clear_error (&error);
  g_assert_true (store_claim_take (store, mine, TRUE, &error));
  g_assert_no_error (error);
  assert_holder (store, "/run/a");
  g_assert_true (store_claim_release (store, mine, &error));
  assert_holder (store, NULL);
}

typedef struct {
  Store *store;
  const char *runtime;
  int *holders; /* (atomic) */
  guint won;
} Racer;

/* Takes, holds, gives up, again and again. Nobody else holds it meanwhile. */
static gpointer
race_main (gpointer data)
{
  Racer *racer = data;
  g_autoptr (Claim) claim = claim_here (racer->runtime);

  for (guint i = 0; i < 200; i++) {
    g_autoptr (GError) error = NULL;
    if (!store_claim_take (racer->store, claim, FALSE, &error)) {
      g_assert_error (error, STORE_ERROR, STORE_ERROR_CLAIMED);
      continue;
    }
    racer->won++;
    g_assert_cmpint (g_atomic_int_add (racer->holders, 1), ==, 0);
    g_thread_yield();
    g_assert_cmpint (g_atomic_int_add (racer->holders, -1), ==, 1);
    g_assert_true (store_claim_release (racer->store, claim, &error));
  }
  return NULL;
}

static void
test_race (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  static const char *const runtimes[] = { "/run/a", "/run/b", "/run/c" };
  Racer racers[G_N_ELEMENTS (runtimes)];
  GThread *threads[G_N_ELEMENTS (runtimes)];
  int holders = 0;
  guint won = 0;

  for (guint i = 0; i < G_N_ELEMENTS (runtimes); i++) {
    racers[i] = (Racer){ store, runtimes[i], &holders, 0 };
    threads[i] = g_thread_new ("claim", race_main, &racers[i]);
  }
  for (guint i = 0; i < G_N_ELEMENTS (runtimes); i++) {
    g_thread_join (threads[i]);
    won += racers[i].won;
  }
  g_assert_cmpuint (won, >, 0);
  assert_holder (store, NULL);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/store/claim/take-and-release", test_take_and_release);
  g_test_add_func ("/store/claim/dead-holders", test_dead_holders);
  g_test_add_func ("/store/claim/take-over", test_take_over);
  g_test_add_func ("/store/claim/same-name", test_same_name);
  g_test_add_func ("/store/claim/damaged", test_damaged);
  g_test_add_func ("/store/claim/race", test_race);
  return g_test_run();
}
