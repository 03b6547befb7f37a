/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A store against a model of it: thousands of operations by chance, after each few of which all
 * that is in the store is compared with what the model says, byte for byte. The model is what a
 * store is to its users: checkpoints, each an array of pages, with tags. Processes are killed at
 * fault points, objects are damaged and mended, a second store is a replica; several processes or
 * threads work on one store, each with guests of its own.
 *
 * The seed is printed. MODEL_SEED=N replays it; MODEL_STEPS=N is how far; MODEL_VERBOSE=1 tells
 * each step.
 */
#include "store-fixture.h"

#include "store-private.h"

#include <vmckpt/store/copy.h>
#include <vmckpt/store/key.h>
#include <vmckpt/store/repair.h>
#include <vmckpt/util/fault.h>

#include <glib/gstdio.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES_MAX 700
#define CHECKPOINTS_MAX 14
#define COMPARE_EVERY 12

/* A checkpoint as it must be. */
typedef struct {
  char *id;
  gint64 created_us;
  guint guest;
  guint pages;
  guint64 seeds[PAGES_MAX];
  GHashTable *tags;
} Expected;

typedef struct {
  char *path;       /* directory, or NULL: in memory */
  KeyMaterial *key; /* (nullable) */
  Store *store;     /* (nullable): not open */
  Store *replica;   /* (nullable) */
  GRand *rand;
  const char *actor; /* beginning of the names of its guests */
  gboolean alone;    /* nobody else works on this store */
  gboolean verbose;
  gint64 clock; /* number of the next checkpoint */
  guint step;
  GPtrArray *expected; /* of Expected */
} Model;

static void
expected_free (Expected *expected)
{
  g_free (expected->id);
  g_hash_table_unref (expected->tags);
  g_free (expected);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Expected, expected_free)

static Expected *
expected_new (void)
{
  Expected *expected = g_new0 (Expected, 1);

  expected->tags = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  return expected;
}

/* Content: the low half says what the page was at first, the high half which few bytes of that have
 * changed since. 0: zeros. */
static void
fill_page (guint64 seed, guint8 *page)
{
  fixture_page (seed & G_MAXUINT32, page);
  for (guint64 change = seed >> 32; change != 0; change >>= 8)
    page[(change * 2654435761u >> 7) % PAGE_SIZE_BYTES] ^= change;
}

static guint
below (GRand *rand, guint end)
{
  return g_rand_int_range (rand, 0, end);
}

static gboolean
chance (Model *model, guint percent)
{
  return below (model->rand, 100) < percent;
}

static Store *
open_store (const char *path, const KeyMaterial *key)
{
  g_autoptr (GError) error = NULL;
  Backend *backend = fixture_directory_backend (path);
  Store *store = store_open_with_key (backend, key, NULL, &error);

  g_assert_no_error (error);
  return store;
}

static void
reopen (Model *model)
{
  if (model->path == NULL || !model->alone)
    return;
  g_clear_pointer (&model->store, store_unref);
  model->store = open_store (model->path, model->key);
}

/* ---- What a writer does, in this process or in one that is killed ---- */

/* Says how a checkpoint comes from another; a process that is given the same makes the same. */
typedef struct {
  guint32 seed;
  guint guest;
  gint64 created_us;
} Recipe;

/* New content for a page that had @former. */
static guint64
next_seed (GRand *rand, guint64 former)
{
  switch (below (rand, 10)) {
  case 0:
    return 0;
  case 1:
  case 2:
    return 1 + below (rand, 40); /* known, sooner or later */
  case 3:
  case 4:
  case 5:
    if (former != 0)
      return (former & G_MAXUINT32) | (guint64)(1 + below (rand, G_MAXINT32)) << 32;
    G_GNUC_FALLTHROUGH;
  default:
    return 1000 + below (rand, 1 << 30);
  }
}

/* Chooses what is written where; @changed is set for pages that are put. */
static void
cook (const Recipe *recipe, const Expected *base, Expected *result, gboolean *changed)
{
  g_autoptr (GRand) rand = g_rand_new_with_seed (recipe->seed);
  guint puts;

  result->guest = recipe->guest;
  result->created_us = recipe->created_us;
  if (base != NULL) {
    result->pages = base->pages;
    memcpy (result->seeds, base->seeds, sizeof base->seeds);
  }
  if (base == NULL || below (rand, 6) == 0) {
    result->pages = 1 + below (rand, below (rand, 2) ? PAGES_MAX : 20);
    for (guint i = result->pages; i < PAGES_MAX; i++)
      result->seeds[i] = 0;
  }
  puts = below (rand, 3) == 0 ? result->pages : below (rand, 12);
  guint from = below (rand, result->pages);
  gboolean dense = below (rand, 2);
  for (guint n = 0; n < puts; n++) {
    guint page = dense ? (from + n) % result->pages : below (rand, result->pages);
    result->seeds[page] = next_seed (rand, result->seeds[page]);
    changed[page] = TRUE;
  }
}

static gboolean
put_pages (PageMapWriter *pages, const Expected *result, const gboolean *changed, GRand *rand,
           GError **error)
{
  guint8 data[PAGE_SIZE_BYTES];
  guint turn = below (rand, result->pages);

  for (guint n = 0; n < result->pages; n++) {
    guint page = (n + turn) % result->pages;
    if (!changed[page])
      continue;
    if (below (rand, 20) == 0) {
      fill_page (777, data); /* replaced at once */
      if (!page_map_writer_put (pages, page, data, error))
        return FALSE;
    }
    fill_page (result->seeds[page], data);
    if (!page_map_writer_put (pages, page, result->seeds[page] != 0 ? data : NULL, error))
      return FALSE;
  }
  return TRUE;
}

static const PageMap *
ram_of (const Manifest *manifest)
{
  return &manifest_find_part (manifest, "ram", NULL)->map;
}

static char *
guest_name (const char *actor, guint guest)
{
  return g_strdup_printf ("%s%u", actor, guest);
}

static gboolean
write_maps (StoreWriter *writer, const Recipe *recipe, const Manifest *base, const Expected *result,
            const gboolean *changed, Manifest *manifest, GError **error)
{
  g_autoptr (GRand) rand = g_rand_new_with_seed (recipe->seed + 1);
  g_autoptr (PageMapWriter) pages = page_map_writer_new (
      writer, (guint64)result->pages * PAGE_SIZE_BYTES, base != NULL ? ram_of (base) : NULL, error);
  g_autofree guint8 *state = g_malloc (10000);
  PageMap map, data;

  if (pages == NULL || !put_pages (pages, result, changed, rand, error) ||
      !page_map_writer_finish (pages, &map, NULL, error))
    return FALSE;
  fill_page (recipe->seed, state);
  memcpy (state + 5000, state, PAGE_SIZE_BYTES);
  gsize len = below (rand, 9000);
  if (!store_writer_put_data (writer, state, len, &data, error))
    return FALSE;
  if (below (rand, 8) == 0 && !store_writer_flush (writer, NULL, error))
    return FALSE;
  manifest_add_part (manifest, "ram", "pc.ram", &map);
  manifest_add_part (manifest, "device-state", "", &data);
  return TRUE;
}

/* Writes and commits; with @give_up, does not. The manifest's id goes to @result. */
static gboolean
write_checkpoint (Store *store, const char *actor, const Recipe *recipe, const char *base_id,
                  Expected *result, const gboolean *changed, gboolean give_up, GError **error)
{
  g_autofree char *name = guest_name (actor, recipe->guest);
  g_autoptr (Manifest) manifest = fixture_manifest_new (name, recipe->created_us);
  g_autoptr (Manifest) base = base_id != NULL ? store_manifest_load (store, base_id, error) : NULL;
  if (base_id != NULL && base == NULL)
    return FALSE;
  g_autoptr (StoreWriter) writer = store_writer_begin (store, error);

  if (writer == NULL || !write_maps (writer, recipe, base, result, changed, manifest, error))
    return FALSE;
  if (give_up)
    return TRUE;
  if (!store_writer_commit (writer, manifest, NULL, error))
    return FALSE;
  result->id = g_strdup (manifest->id);
  return TRUE;
}

/* ---- Comparing ---- */

typedef struct {
  const Expected *expected;
  guint64 seen;
} Comparison;

static gboolean
compare_page (guint64 page, const guint8 *data, gpointer user_data, GError **error)
{
  Comparison *comparison = user_data;
  guint8 wanted[PAGE_SIZE_BYTES];
  guint64 seed = comparison->expected->seeds[page];

  g_assert_cmpuint (page, ==, comparison->seen);
  comparison->seen++;
  fill_page (seed, wanted);
  if (data == NULL)
    g_assert_cmpuint (seed, ==, 0);
  else
    g_assert_cmpmem (data, PAGE_SIZE_BYTES, wanted, PAGE_SIZE_BYTES);
  return TRUE;
}

/* Reads the checkpoint @id and compares it; FALSE with @error if it cannot be read. */
static gboolean
compare (Store *store, const char *id, const Expected *expected, GError **error)
{
  g_autoptr (Manifest) manifest = store_manifest_load (store, id, error);
  g_autoptr (PageMapReader) reader =
      manifest != NULL ? page_map_reader_new (store, ram_of (manifest), error) : NULL;
  Comparison comparison = { expected, 0 };

  if (reader == NULL ||
      !page_map_reader_foreach (reader, TRUE, compare_page, &comparison, NULL, NULL, error))
    return FALSE;
  g_assert_cmpuint (ram_of (manifest)->length, ==, (guint64)expected->pages * PAGE_SIZE_BYTES);
  g_assert_cmpuint (comparison.seen, ==, expected->pages);
  return TRUE;
}

static void
compare_tags (Store *store, const Expected *expected)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Manifest) manifest = store_manifest_load (store, expected->id, &error);
  g_auto (GStrv) tags = store_tags (store, manifest, &error);

  g_assert_no_error (error);
  g_assert_cmpuint (g_strv_length (tags), ==, g_hash_table_size (expected->tags));
  for (char **tag = tags; *tag != NULL; tag++)
    g_assert_true (g_hash_table_contains (expected->tags, *tag));
}

static void
assert_sound (Store *store, gboolean read_data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) findings = NULL;

  store_check (store, read_data, &findings, NULL, NULL, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < findings->len; i++)
    g_printerr ("# %s %s (%u)\n", ((StoreFinding *)findings->pdata[i])->object,
                ((StoreFinding *)findings->pdata[i])->problem,
                g_strv_length (((StoreFinding *)findings->pdata[i])->checkpoints));
  g_assert_cmpuint (findings->len, ==, 0);
}

/* Everything of this actor is in the store, and nothing else. */
static void
compare_all (Model *model)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) damaged = NULL;
  g_autoptr (GPtrArray) all = store_manifest_list (model->store, NULL, &damaged, &error);
  guint own = 0;

  g_assert_no_error (error);
  g_assert_cmpuint (damaged->len, ==, 0);
  for (guint i = 0; i < all->len; i++)
    own += g_str_has_prefix (((Manifest *)all->pdata[i])->guest, model->actor);
  g_assert_cmpuint (own, ==, model->expected->len);
  for (guint i = 0; i < model->expected->len; i++) {
    const Expected *expected = model->expected->pdata[i];
    compare (model->store, expected->id, expected, &error);
    g_prefix_error (&error, "checkpoint %.12s: ", expected->id);
    g_assert_no_error (error);
    compare_tags (model->store, expected);
  }
}

/* ---- Operations ---- */

static const Expected *
any_checkpoint (Model *model)
{
  if (model->expected->len == 0)
    return NULL;
  return model->expected->pdata[below (model->rand, model->expected->len)];
}

static Recipe
new_recipe (Model *model)
{
  return (Recipe){ g_rand_int (model->rand), below (model->rand, 3), ++model->clock };
}

static void
do_write (Model *model)
{
  g_autoptr (GError) error = NULL;
  const Expected *base = chance (model, 75) ? any_checkpoint (model) : NULL;
  g_autoptr (Expected) result = expected_new();
  gboolean changed[PAGES_MAX] = { FALSE };
  Recipe recipe = new_recipe (model);
  gboolean give_up = chance (model, 10);

  if (model->expected->len >= CHECKPOINTS_MAX)
    return;
  cook (&recipe, base, result, changed);
  write_checkpoint (model->store, model->actor, &recipe, base != NULL ? base->id : NULL, result,
                    changed, give_up, &error);
  g_assert_no_error (error);
  if (!give_up)
    g_ptr_array_add (model->expected, g_steal_pointer (&result));
}

static void
do_tag (Model *model)
{
  const Expected *expected = any_checkpoint (model);
  g_autofree char *tag = g_strdup_printf ("t%u", below (model->rand, 5));
  g_autoptr (GError) error = NULL;

  if (expected == NULL)
    return;
  store_tag_add (model->store, expected->id, tag, &error);
  g_assert_no_error (error);
  g_hash_table_add (expected->tags, g_steal_pointer (&tag));
}

static void
do_remove (Model *model)
{
  const Expected *expected = any_checkpoint (model);
  g_autoptr (GError) error = NULL;

  if (expected == NULL)
    return;
  store_manifest_remove (model->store, expected->id, &error);
  g_assert_no_error (error);
  g_ptr_array_remove_fast (model->expected, (gpointer)expected);
}

static void
do_gc (Model *model)
{
  g_autoptr (GError) error = NULL;
  StoreStats stats;

  store_gc (model->store, chance (model, 20), NULL, NULL, NULL, &error);
  if (!model->alone && g_error_matches (error, STORE_ERROR, STORE_ERROR_IN_USE))
    return;
  g_assert_no_error (error);
  store_stats (model->store, TRUE, &stats, NULL, NULL, &error);
  g_assert_no_error (error);
}

static void
do_check (Model *model)
{
  assert_sound (model->store, chance (model, 30));
}

static void
do_verify (Model *model)
{
  const Expected *expected = any_checkpoint (model);
  g_autoptr (GError) error = NULL;

  if (expected == NULL)
    return;
  g_autoptr (Manifest) manifest = store_manifest_load (model->store, expected->id, &error);
  store_verify (model->store, manifest, NULL, NULL, &error);
  g_assert_no_error (error);
}

static void
do_read_page (Model *model)
{
  const Expected *expected = any_checkpoint (model);
  g_autoptr (GError) error = NULL;
  guint8 data[PAGE_SIZE_BYTES], wanted[PAGE_SIZE_BYTES];

  if (expected == NULL)
    return;
  g_autoptr (Manifest) manifest = store_manifest_load (model->store, expected->id, &error);
  g_assert_no_error (error);
  g_autoptr (PageMapReader) reader = page_map_reader_new (model->store, ram_of (manifest), &error);
  g_assert_no_error (error);
  for (guint i = 0; i < 5; i++) {
    guint page = below (model->rand, expected->pages);
    page_map_reader_read (reader, page, data, &error);
    g_assert_no_error (error);
    fill_page (expected->seeds[page], wanted);
    g_assert_cmpmem (data, sizeof data, wanted, sizeof wanted);
  }
}

static gboolean
count_difference (guint64 page, const ChunkName *a, const ChunkName *b, gpointer user_data)
{
  ((gboolean *)user_data)[page] = TRUE;
  return TRUE;
}

static void
do_diff (Model *model)
{
  const Expected *a = any_checkpoint (model), *b = any_checkpoint (model);
  g_autoptr (GError) error = NULL;
  gboolean differs[PAGES_MAX] = { FALSE };

  if (a == NULL || a->pages != b->pages)
    return;
  g_autoptr (Manifest) first = store_manifest_load (model->store, a->id, &error);
  g_autoptr (Manifest) second = store_manifest_load (model->store, b->id, &error);
  page_map_diff (model->store, ram_of (first), ram_of (second), count_difference, differs, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < a->pages; i++) {
    guint8 one[PAGE_SIZE_BYTES], other[PAGE_SIZE_BYTES];
    fill_page (a->seeds[i], one);
    fill_page (b->seeds[i], other);
    g_assert_cmpint (differs[i], ==, memcmp (one, other, sizeof one) != 0);
  }
}

static void
do_reopen (Model *model)
{
  reopen (model);
}

/* Copies some checkpoints into the replica, and looks at them there. */
static void
do_copy (Model *model)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) manifests = g_ptr_array_new_with_free_func ((GDestroyNotify)manifest_free);
  g_autoptr (GPtrArray) chosen = g_ptr_array_new();
  g_autoptr (GPtrArray) copied = NULL;

  if (model->replica == NULL)
    return;
  for (guint i = 0; i < model->expected->len; i++) {
    Expected *expected = model->expected->pdata[i];
    if (!chance (model, 40))
      continue;
    g_ptr_array_add (manifests, store_manifest_load (model->store, expected->id, &error));
    g_assert_no_error (error);
    g_ptr_array_add (chosen, expected);
  }
  store_copy (model->store, model->replica, manifests, &copied, NULL, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (copied->len, ==, chosen->len);
  for (guint i = 0; i < copied->len; i++) {
    const StoreCopied *copy = copied->pdata[i];
    g_assert_cmpstr (copy->problem, ==, NULL);
    for (guint j = 0; j < chosen->len; j++) {
      Expected *expected = chosen->pdata[j];
      if (!g_str_equal (expected->id, copy->source))
        continue;
      compare (model->replica, copy->id, expected, &error);
      g_assert_no_error (error);
    }
  }
  if (chance (model, 30))
    assert_sound (model->replica, TRUE);
}

/* A process of its own does something and is killed, or fails, on the way. */
static int
run_with_fault (Model *model, const char *work, const Recipe *recipe, const Expected *base)
{
  static const char *const actions[] = { "kill", "kill", "enospc", "eio" };
  FaultPoint point;
  do
    point = 1 + below (model->rand, FAULT_COUNT - 1);
  while (g_str_has_prefix (fault_point_name (point), "restore-") ||
         g_str_has_prefix (fault_point_name (point), "stream-"));
  g_autofree char *fault =
      g_strdup_printf ("%s:%s:%u", fault_point_name (point), actions[below (model->rand, 4)],
                       1 + below (model->rand, 5));
  g_auto (GStrv) environment = g_environ_setenv (g_get_environ(), "VMCKPT_FAULT", fault, TRUE);
  g_autofree char *text =
      g_strdup_printf ("%u,%u,%" G_GINT64_FORMAT, recipe->seed, recipe->guest, recipe->created_us);
  /* The base's content, which the process needs to know. */
  g_autofree char *seeds =
      base != NULL ? g_base64_encode ((const guchar *)base, sizeof *base) : g_strdup ("");
  const char *argv[] = {
    "/proc/self/exe", "--child", work, model->path, text, seeds, base != NULL ? base->id : "", NULL
  };
  g_autoptr (GError) error = NULL;
  int status;

  if (model->verbose)
    g_printerr ("#   %s with %s\n", work, fault);
  g_spawn_sync (NULL, (char **)argv, environment, G_SPAWN_CHILD_INHERITS_STDIN, NULL, NULL, NULL,
                NULL, &status, &error);
  g_assert_no_error (error);
  if (WIFSIGNALED (status))
    g_assert_cmpint (WTERMSIG (status), ==, SIGKILL);
  else
    g_assert_cmpint (WEXITSTATUS (status), <=, 1);
  return status;
}

static int
child_main (char **argv)
{
  const char *work = argv[2], *id = argv[6];
  g_auto (GStrv) part = g_strsplit (argv[4], ",", 3);
  Recipe recipe = { strtoul (part[0], NULL, 10), atoi (part[1]),
                    g_ascii_strtoll (part[2], NULL, 10) };
  gsize len;
  g_autofree guchar *base = g_base64_decode (argv[5], &len);
  g_autoptr (Store) store = open_store (argv[3], NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (Expected) result = expected_new();
  gboolean changed[PAGES_MAX] = { FALSE }, done;

  alarm (120); /* a hang is a failure */
  if (g_str_equal (work, "write")) {
    cook (&recipe, len > 0 ? (const Expected *)base : NULL, result, changed);
    done = write_checkpoint (store, "a", &recipe, *id != 0 ? id : NULL, result, changed, FALSE,
                             &error);
  } else if (g_str_equal (work, "remove")) {
    done = store_manifest_remove (store, id, &error);
  } else {
    done = store_gc (store, FALSE, NULL, NULL, NULL, &error);
  }
  return done ? 0 : 1;
}

/* Takes over what the killed writer may have finished. */
static void
adopt (Model *model, Expected *result, gboolean must, gboolean must_not)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) all = store_manifest_list (model->store, NULL, NULL, &error);
  gboolean found = FALSE;

  g_assert_no_error (error);
  for (guint i = 0; i < all->len; i++) {
    const Manifest *manifest = all->pdata[i];
    if (manifest->created_us != result->created_us)
      continue;
    found = TRUE;
    result->id = g_strdup (manifest->id);
    compare (model->store, result->id, result, &error);
    g_assert_no_error (error);
  }
  g_assert_true (found || !must);
  g_assert_false (found && must_not);
  if (found)
    g_ptr_array_add (model->expected, result);
  else
    expected_free (result);
}

static void
do_crash (Model *model)
{
  static const char *const works[] = { "write", "write", "gc", "remove" };
  const char *work = works[below (model->rand, G_N_ELEMENTS (works))];
  const Expected *base = any_checkpoint (model);
  gboolean changed[PAGES_MAX] = { FALSE };
  Recipe recipe = new_recipe (model);
  g_autoptr (GError) error = NULL;

  if (model->path == NULL || model->key != NULL || base == NULL || !model->alone)
    return;
  if (g_str_equal (work, "write")) {
    Expected *result = expected_new();
    cook (&recipe, base, result, changed);
    int status = run_with_fault (model, work, &recipe, base);
    adopt (model, result, WIFEXITED (status) && WEXITSTATUS (status) == 0,
           WIFEXITED (status) && WEXITSTATUS (status) == 1);
    return;
  }
  run_with_fault (model, work, &recipe, base);
  if (g_str_equal (work, "gc"))
    return;
  g_autoptr (Manifest) left = store_manifest_load (model->store, base->id, &error);
  if (left == NULL) {
    g_assert_error (error, STORE_ERROR, STORE_ERROR_NOT_FOUND);
    g_ptr_array_remove_fast (model->expected, (gpointer)base);
  } else {
    g_autoptr (GError) again = NULL;
    store_manifest_remove (model->store, base->id, &again);
    g_assert_no_error (again);
    g_ptr_array_remove_fast (model->expected, (gpointer)base);
  }
}

/* Flips, cuts or removes one object; (transfer full) (nullable) its content. */
static GBytes *
damage_object (Model *model, const char *file)
{
  g_autofree char *contents = NULL;
  gsize len;

  g_assert_true (g_file_get_contents (file, &contents, &len, NULL));
  GBytes *whole = g_bytes_new (contents, len);
  guint how = below (model->rand, 3);
  if (how == 0) {
    g_assert_cmpint (g_unlink (file), ==, 0);
    return whole;
  }
  gsize at = below (model->rand, len);
  contents[at] ^= 1 << below (model->rand, 8);
  g_assert_true (g_file_set_contents (file, contents, how == 1 ? len : at, NULL));
  return whole;
}

static int
compare_names (gconstpointer a, gconstpointer b)
{
  return strcmp (*(const char *const *)a, *(const char *const *)b);
}

/* While an object is damaged, a checkpoint reads right or is refused; gc harms nothing; once the
 * object is back, all is as it was. */
static void
do_damage (Model *model)
{
  static const char *const prefixes[] = { "packs/", "packs/", "index/", "manifests/" };
  const char *prefix = prefixes[below (model->rand, G_N_ELEMENTS (prefixes))];
  g_autoptr (GError) error = NULL;

  if (model->path == NULL || !model->alone)
    return;
  g_autoptr (GPtrArray) names = store_list_names (model->store, prefix, &error);
  g_assert_no_error (error);
  if (names->len == 0)
    return;
  g_ptr_array_sort (names, compare_names);
  const char *name = names->pdata[below (model->rand, names->len)];
  g_autofree char *file = g_build_filename (model->path, name, NULL);
  g_autoptr (GBytes) whole = damage_object (model, file);
  if (model->verbose)
    g_printerr ("#   %s\n", name);
  if (chance (model, 50))
    reopen (model);
  for (guint i = 0; i < model->expected->len; i++) {
    const Expected *expected = model->expected->pdata[i];
    g_autoptr (GError) cause = NULL;
    if (!compare (model->store, expected->id, expected, &cause) &&
        !g_error_matches (cause, STORE_ERROR, STORE_ERROR_DAMAGED) &&
        !g_error_matches (cause, STORE_ERROR, STORE_ERROR_NOT_FOUND))
      g_assert_no_error (cause);
  }
  gboolean collect = chance (model, 30) && !g_str_equal (prefix, "manifests/");
  if (collect)
    store_gc (model->store, FALSE, NULL, NULL, NULL, NULL);
  if (chance (model, 30))
    reopen (model);
  g_assert_true (
      g_file_set_contents (file, g_bytes_get_data (whole, NULL), g_bytes_get_size (whole), NULL));
  if (chance (model, 50))
    reopen (model);
  compare_all (model);
  /* A gc that found the pack missing has taken it out of the index. */
  if (collect)
    store_gc (model->store, FALSE, NULL, NULL, NULL, &error);
  g_assert_no_error (error);
}

/* Everything goes into the replica. */
static void
copy_all (Model *model)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) all = store_manifest_list (model->store, NULL, NULL, &error);
  g_autoptr (GPtrArray) copied = NULL;

  g_assert_no_error (error);
  store_copy (model->store, model->replica, all, &copied, NULL, NULL, &error);
  g_assert_no_error (error);
}

/* Checkpoints that were fetched anew have got new ids. */
static void
learn_ids (Model *model)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) all = store_manifest_list (model->store, NULL, NULL, &error);

  g_assert_no_error (error);
  for (guint i = 0; i < all->len; i++) {
    const Manifest *manifest = all->pdata[i];
    for (guint j = 0; j < model->expected->len; j++) {
      Expected *expected = model->expected->pdata[j];
      if (expected->created_us != manifest->created_us)
        continue;
      g_free (expected->id);
      expected->id = g_strdup (manifest->id);
    }
  }
}

/* Several objects are damaged; with a replica that has everything, repair makes all good again. */
static void
do_repair (Model *model)
{
  static const char *const prefixes[] = { "packs/", "packs/", "index/" };
  g_autoptr (GError) error = NULL;

  if (model->path == NULL || model->replica == NULL || !model->alone)
    return;
  copy_all (model);
  for (guint n = 1 + below (model->rand, 3); n > 0; n--) {
    const char *prefix = prefixes[below (model->rand, G_N_ELEMENTS (prefixes))];
    g_autoptr (GPtrArray) names = store_list_names (model->store, prefix, &error);
    if (names->len == 0)
      continue;
    g_ptr_array_sort (names, compare_names);
    const char *name = names->pdata[below (model->rand, names->len)];
    g_autofree char *file = g_build_filename (model->path, name, NULL);
    g_bytes_unref (damage_object (model, file));
    if (model->verbose)
      g_printerr ("#   %s\n", name);
  }
  if (chance (model, 50))
    reopen (model);
  g_autoptr (StoreRepair) repair =
      store_repair (model->store, model->replica, FALSE, NULL, NULL, &error);
  g_assert_no_error (error);
  for (guint i = 0; model->verbose && i < repair->hurt->len; i++) {
    const StoreHurt *hurt = repair->hurt->pdata[i];
    g_printerr ("#   hurt %.12s: %s%s\n", hurt->id,
                hurt->replaced_by != NULL ? "replaced by "
                : hurt->healed            ? "healed"
                                          : "left",
                hurt->replaced_by != NULL ? hurt->replaced_by : "");
  }
  learn_ids (model);
  compare_all (model);
  store_gc (model->store, FALSE, NULL, NULL, NULL, &error);
  g_assert_no_error (error);
  compare_all (model);
  assert_sound (model->store, TRUE);
}

typedef struct {
  const char *name;
  guint weight;
  void (*work) (Model *model);
} Operation;

static const Operation operations[] = {
  { "write", 30, do_write },   { "tag", 4, do_tag },      { "remove", 12, do_remove },
  { "gc", 8, do_gc },          { "check", 3, do_check },  { "verify", 3, do_verify },
  { "page", 8, do_read_page }, { "diff", 4, do_diff },    { "reopen", 4, do_reopen },
  { "copy", 4, do_copy },      { "crash", 10, do_crash }, { "damage", 5, do_damage },
  { "repair", 3, do_repair },
};

static void
do_step (Model *model)
{
  guint all = 0, at;

  for (guint i = 0; i < G_N_ELEMENTS (operations); i++)
    all += operations[i].weight;
  at = below (model->rand, all);
  const Operation *operation = operations;
  for (; at >= operation->weight; operation++)
    at -= operation->weight;
  if (model->verbose)
    g_printerr ("# %s %u %s\n", model->actor, model->step, operation->name);
  operation->work (model);
  model->step++;
  if (model->step % COMPARE_EVERY == 0)
    compare_all (model);
}

/* ---- Runs ---- */

static guint
number_from (const char *variable, guint otherwise)
{
  const char *text = g_getenv (variable);
  return text != NULL ? strtoul (text, NULL, 10) : otherwise;
}

static void
model_init (Model *model, guint32 seed, const char *actor)
{
  model->rand = g_rand_new_with_seed (seed);
  model->actor = actor;
  model->alone = TRUE;
  model->verbose = g_getenv ("MODEL_VERBOSE") != NULL;
  model->expected = g_ptr_array_new_with_free_func ((GDestroyNotify)expected_free);
}

static void
model_run (Model *model, guint steps)
{
  while (model->step < steps)
    do_step (model);
  compare_all (model);
}

/* Nothing is left over at the end: what remains is what the model says. */
static void
assert_clean (Store *store)
{
  g_autoptr (GError) error = NULL;
  StoreStats stats;

  store_gc (store, FALSE, NULL, NULL, NULL, &error);
  g_assert_no_error (error);
  store_stats (store, TRUE, &stats, NULL, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (stats.unused_bytes, ==, 0);
  g_assert_cmpuint (fixture_count_objects (store->backend, "tmp/"), ==, 0);
  g_assert_cmpuint (fixture_count_objects (store->backend, "writers/"), ==, 0);
  g_assert_cmpuint (fixture_count_objects (store->backend, "condemned/"), ==, 0);
  assert_sound (store, TRUE);
}

static void
model_clear (Model *model)
{
  g_clear_pointer (&model->store, store_unref);
  g_clear_pointer (&model->replica, store_unref);
  g_clear_pointer (&model->key, key_material_free);
  g_rand_free (model->rand);
  g_ptr_array_unref (model->expected);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Model, model_clear)

static void
run_in_memory (guint32 seed)
{
  g_autoptr (FixtureDirectory) replica = fixture_directory_new();
  g_auto (Model) model = { 0 };

  g_print ("# MODEL_SEED=%u\n", seed);
  model_init (&model, seed, "a");
  model.store = fixture_store_new (backend_memory_new());
  model.replica = fixture_store_new (fixture_directory_backend (replica));
  model_run (&model, number_from ("MODEL_STEPS", g_test_slow() ? 4000 : 200));
  assert_clean (model.store);
  assert_clean (model.replica);
}

static void
run_in_directory (guint32 seed, gboolean encrypted)
{
  g_autoptr (FixtureDirectory) path = fixture_directory_new();
  g_autoptr (GError) error = NULL;
  g_auto (Model) model = { 0 };

  g_print ("# MODEL_SEED=%u\n", seed);
  model_init (&model, seed, "a");
  model.path = path;
  model.replica = fixture_store_new (backend_memory_new());
  g_autoptr (Backend) backend = fixture_directory_backend (path);
  if (encrypted) {
    model.key = key_material_new_file ("a key for this test, long enough", 32, &error);
    g_assert_no_error (error);
    store_init_encrypted (backend, model.key, NULL, &error);
  } else {
    store_init (backend, &error);
  }
  g_assert_no_error (error);
  model.store = open_store (path, model.key);
  model_run (&model, number_from ("MODEL_STEPS", g_test_slow() ? 2000 : 200));
  assert_clean (model.store);
}

/* An actor among others on one store. */
static void
run_actor (Store *store, const char *actor, guint32 seed, guint steps)
{
  g_auto (Model) model = { 0 };

  model_init (&model, seed, actor);
  model.alone = FALSE;
  model.store = store_ref (store);
  model.clock = *actor * 1000000;
  model_run (&model, steps);
}

static guint
actor_steps (void)
{
  return number_from ("MODEL_STEPS", g_test_slow() ? 1000 : 80);
}

typedef struct {
  Store *store;
  const char *actor;
  guint32 seed;
} Actor;

static gpointer
actor_thread (gpointer data)
{
  const Actor *actor = data;

  run_actor (actor->store, actor->actor, actor->seed, actor_steps());
  return NULL;
}

static const char *const actor_names[] = { "a", "b", "c" };

static void
run_threads (guint32 seed)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  Actor actors[G_N_ELEMENTS (actor_names)];
  GThread *threads[G_N_ELEMENTS (actor_names)];

  g_print ("# MODEL_SEED=%u\n", seed);
  for (guint i = 0; i < G_N_ELEMENTS (actors); i++) {
    actors[i] = (Actor){ store, actor_names[i], seed + i };
    threads[i] = g_thread_new ("actor", actor_thread, &actors[i]);
  }
  for (guint i = 0; i < G_N_ELEMENTS (actors); i++)
    g_thread_join (threads[i]);
  assert_clean (store);
}

static void
run_processes (guint32 seed)
{
  g_autoptr (FixtureDirectory) path = fixture_directory_new();
  g_autoptr (GError) error = NULL;
  GSubprocess *process[2];

  g_print ("# MODEL_SEED=%u\n", seed);
  store_unref (fixture_store_new (fixture_directory_backend (path)));
  for (guint i = 0; i < 2; i++) {
    g_autofree char *text = g_strdup_printf ("%u", seed + i);
    g_autofree char *steps = g_strdup_printf ("%u", actor_steps());
    const char *argv[] = { "/proc/self/exe", "--actor", path, actor_names[i], text, steps, NULL };
    process[i] = g_subprocess_newv (argv, G_SUBPROCESS_FLAGS_NONE, &error);
    g_assert_no_error (error);
  }
  for (guint i = 0; i < 2; i++) {
    g_assert_true (g_subprocess_wait_check (process[i], NULL, &error));
    g_object_unref (process[i]);
  }
  g_autoptr (Store) store = open_store (path, NULL);
  assert_clean (store);
}

static void
test_memory (void)
{
  for (guint32 seed = 1; seed <= 3; seed++)
    run_in_memory (number_from ("MODEL_SEED", seed));
  run_in_memory (number_from ("MODEL_SEED", g_random_int()));
}

static void
test_directory (void)
{
  for (guint32 seed = 1; seed <= 2; seed++)
    run_in_directory (number_from ("MODEL_SEED", seed), FALSE);
  run_in_directory (number_from ("MODEL_SEED", g_random_int()), FALSE);
}

static void
test_encrypted (void)
{
  run_in_directory (number_from ("MODEL_SEED", 1), TRUE);
  run_in_directory (number_from ("MODEL_SEED", g_random_int()), TRUE);
}

static void
test_threads (void)
{
  run_threads (number_from ("MODEL_SEED", 1));
  run_threads (number_from ("MODEL_SEED", g_random_int()));
}

static void
test_processes (void)
{
  run_processes (number_from ("MODEL_SEED", 1));
  run_processes (number_from ("MODEL_SEED", g_random_int()));
}

int
main (int argc, char **argv)
{
  if (argc == 7 && g_str_equal (argv[1], "--child"))
    return child_main (argv);
  if (argc == 6 && g_str_equal (argv[1], "--actor")) {
    g_autoptr (Store) store = open_store (argv[2], NULL);
    run_actor (store, argv[3], strtoul (argv[4], NULL, 10), strtoul (argv[5], NULL, 10));
    return 0;
  }
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/store/model/memory", test_memory);
  g_test_add_func ("/store/model/directory", test_directory);
  g_test_add_func ("/store/model/encrypted", test_encrypted);
  g_test_add_func ("/store/model/threads", test_threads);
  g_test_add_func ("/store/model/processes", test_processes);
  return g_test_run();
}
