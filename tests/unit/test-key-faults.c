/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Making an encrypted store, adding a key, removing one and changing a password, with a kill, a
 * full disk and an I/O error at every point: afterwards whoever had a key and was not told that it
 * is gone opens the store, and doing it again succeeds.
 */
#include "power-cut.h"
#include "store-fixture.h"

#include <vmckpt/store/key.h>
#include <vmckpt/util/fault.h>

#include <sys/wait.h>
#include <unistd.h>

static KeyMaterial *
key_file (char fill)
{
  char content[32];

  memset (content, fill, sizeof content);
  return key_material_new_file (content, sizeof content, NULL);
}

static Store *
open_with (const char *path, char fill, char **key_id, GError **error)
{
  g_autoptr (KeyMaterial) key = key_file (fill);
  return store_open_with_key (fixture_directory_backend (path), key, key_id, error);
}

static gboolean
opens (const char *path, char fill)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) store = open_with (path, fill, NULL, &error);

  if (store == NULL)
    g_assert_true (g_error_matches (error, STORE_ERROR, STORE_ERROR_KEY_WRONG) ||
                   g_error_matches (error, STORE_ERROR, STORE_ERROR_NOT_A_STORE));
  return store != NULL;
}

/* What is tried; the store is opened by key file 'a' before. */
static gboolean
work (const char *what, const char *path, GError **error)
{
  g_autoptr (KeyMaterial) a = key_file ('a'), b = key_file ('b');
  g_autofree char *id = NULL, *done = NULL;

  if (g_str_equal (what, "init")) {
    g_autoptr (Backend) backend = fixture_directory_backend (path);
    return store_init_encrypted (backend, a, NULL, error);
  }
  g_autoptr (Store) store = open_with (path, 'a', &id, error);
  if (store == NULL)
    return FALSE;
  if (g_str_equal (what, "add"))
    done = store_key_add (store, b, NULL, error);
  else if (g_str_equal (what, "change"))
    done = store_key_change (store, id, b, error);
  else
    done = store_key_remove (store, id, error);
  return done != NULL;
}

static int
child_main (const char *what, const char *path)
{
  g_autoptr (GError) error = NULL;

  alarm (60);
  if (!fault_check_environment (&error))
    return 2;
  if (!work (what, path, &error))
    return 1;
  power_cut_promise ("done");
  return 0;
}

static int
run_with_fault (const char *path, const char *fault, const char *what)
{
  const char *argv[] = { "/proc/self/exe", "--child", what, path, NULL };
  g_auto (GStrv) environment = g_environ_setenv (g_get_environ(), "VMCKPT_FAULT", fault, TRUE);
  g_autoptr (GError) error = NULL;
  int status;

  g_spawn_sync (NULL, (char **)argv, environment, G_SPAWN_CHILD_INHERITS_STDIN, NULL, NULL, NULL,
                NULL, &status, &error);
  g_assert_no_error (error);
  return status;
}

static void
prepare (const char *what, const char *path)
{
  g_autoptr (GError) error = NULL;

  if (g_str_equal (what, "init"))
    return;
  work ("init", path, &error);
  if (g_str_equal (what, "remove"))
    work ("add", path, &error);
  g_assert_no_error (error);
}

/* What must hold, whatever happened, and then after doing it again. */
static void
assert_holds (const char *what, const char *path, gboolean succeeded, gboolean killed)
{
  g_autoptr (GError) error = NULL;
  gboolean a = opens (path, 'a'), b = opens (path, 'b');

  if (g_str_equal (what, "init")) {
    g_assert_true (a || !succeeded);
    if (!a)
      work ("init", path, &error);
  } else if (g_str_equal (what, "add")) {
    g_assert_true (a && (b || !succeeded));
    if (!b)
      work ("add", path, &error);
  } else {
    g_assert_true (a || b);
    g_assert_true (succeeded || killed || a);
    g_assert_true (!succeeded || (b && !a));
    if (a)
      work (what, path, &error);
  }
  g_assert_no_error (error);
  g_autoptr (Store) store = open_with (path, g_str_equal (what, "init") ? 'a' : 'b', NULL, &error);
  g_assert_no_error (error);
  static const guint64 seeds[] = { 1, 2, 3 };
  g_autoptr (Manifest) manifest = fixture_checkpoint (store, 1, seeds, 3, NULL, NULL);
  fixture_assert_checkpoint (store, manifest->id, seeds, 3);
}

static void
try_fault (const char *what, FaultPoint point, const char *action, guint visit)
{
  g_autoptr (FixtureDirectory) path = fixture_directory_new();
  g_autofree char *fault = g_strdup_printf ("%s:%s:%u", fault_point_name (point), action, visit);

  prepare (what, path);
  int status = run_with_fault (path, fault, what);
  gboolean killed = WIFSIGNALED (status) && WTERMSIG (status) == SIGKILL;
  g_assert_true (killed || (WIFEXITED (status) && WEXITSTATUS (status) < 2));
  g_test_message ("%s: %s", fault,
                  killed                      ? "killed"
                  : WEXITSTATUS (status) == 0 ? "done"
                                              : "failed");
  if (visit == 1)
    g_assert_true (killed || WEXITSTATUS (status) == 1); /* the point was reached */
  assert_holds (what, path, !killed && WEXITSTATUS (status) == 0, killed);
}

static void
test_faults (gconstpointer data)
{
  static const char *const actions[] = { "kill", "enospc", "eio" };
  static const FaultPoint points[] = { FAULT_OBJECT_WRITTEN, FAULT_OBJECT_SYNCED,
                                       FAULT_OBJECT_NAMED, FAULT_KEY_MARKED, FAULT_KEY_ADDED };
  const char *what = data;
  gboolean removes = g_str_equal (what, "remove") || g_str_equal (what, "change");

  for (guint p = 0; p < G_N_ELEMENTS (points); p++) {
    if ((points[p] == FAULT_KEY_MARKED && !removes) ||
        (points[p] == FAULT_KEY_ADDED && !g_str_equal (what, "change")))
      continue;
    /* Objects are put up to twice: a key or a mark, and the format or a mark. */
    for (guint visit = 1; visit <= (points[p] < FAULT_KEY_MARKED ? 2 : 1); visit++)
      for (guint i = 0; i < G_N_ELEMENTS (actions); i++)
        try_fault (what, points[p], actions[i], visit);
  }
}

/* A power cut after every step, with what was not synced lost. */
static void
test_power_cut (gconstpointer data)
{
  const char *what = data;
  g_autoptr (FixtureDirectory) path = fixture_directory_new();
  const char *argv[] = { "/proc/self/exe", "--child", what, path, NULL };

  prepare (what, path);
  g_autoptr (PowerCut) cut = power_cut_new (path);
  g_autoptr (GHashTable) seen = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  g_assert_cmpint (power_cut_run (cut, argv, NULL), ==, 0);
  g_assert_true (power_cut_promised (cut, power_cut_steps (cut), "done"));
  for (guint steps = 0; steps <= power_cut_steps (cut); steps++)
    for (PowerCutMode mode = POWER_CUT_LOSE; mode <= POWER_CUT_SOME; mode++) {
      g_autoptr (FixtureDirectory) after = fixture_directory_new();
      g_autoptr (GRand) chance = g_rand_new_with_seed (steps);
      gboolean promised = power_cut_promised (cut, steps, "done");
      g_autofree char *tree = power_cut_restore (cut, steps, mode, chance, after);
      g_autofree char *state = g_strdup_printf ("%s %d", tree, promised);
      if (g_hash_table_add (seen, g_steal_pointer (&state)))
        assert_holds (what, after, promised, TRUE);
    }
  g_test_message ("%s: %u steps, %u states", what, power_cut_steps (cut), g_hash_table_size (seen));
}

int
main (int argc, char **argv)
{
  if (argc == 4 && g_str_equal (argv[1], "--child"))
    return child_main (argv[2], argv[3]);
  g_test_init (&argc, &argv, NULL);
  g_test_add_data_func ("/store/key-faults/init", "init", test_faults);
  g_test_add_data_func ("/store/key-faults/add", "add", test_faults);
  g_test_add_data_func ("/store/key-faults/remove", "remove", test_faults);
  g_test_add_data_func ("/store/key-faults/change", "change", test_faults);
  g_test_add_data_func ("/store/key-faults/power-cut/init", "init", test_power_cut);
  g_test_add_data_func ("/store/key-faults/power-cut/add", "add", test_power_cut);
  g_test_add_data_func ("/store/key-faults/power-cut/remove", "remove", test_power_cut);
  g_test_add_data_func ("/store/key-faults/power-cut/change", "change", test_power_cut);
  return g_test_run();
}
