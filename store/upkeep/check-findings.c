/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a check found wrong, by object: noted from any thread, and told at the end. */
#include "check-private.h"
#include "pack-set.h"

#include <string.h>

typedef struct {
  char *object;
  char *problem;
  GHashTable *checkpoints; /* set of char* */
} StoreProblem;

static void
problem_free (gpointer data)
{
  StoreProblem *problem = data;
  g_free (problem->object);
  g_free (problem->problem);
  g_hash_table_unref (problem->checkpoints);
  g_free (problem);
}

GHashTable *
check_problems_new (void)
{
  return g_hash_table_new_full (g_str_hash, g_str_equal, NULL, problem_free);
}

void
store_finding_free (StoreFinding *finding)
{
  if (finding == NULL)
    return;
  g_free (finding->object);
  g_free (finding->problem);
  g_strfreev (finding->checkpoints);
  g_free (finding);
}

/* With the lock. */
static StoreProblem *
problem_of (Check *check, const char *object, const char *text)
{
  StoreProblem *problem = g_hash_table_lookup (check->problems, object);

  if (problem == NULL) {
    problem = g_new0 (StoreProblem, 1);
    problem->object = g_strdup (object);
    problem->problem = g_strdup (text);
    problem->checkpoints = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
    g_hash_table_insert (check->problems, problem->object, problem);
  }
  return problem;
}

void
check_note (Check *check, const char *object, const char *text)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&check->lock);
  problem_of (check, object, text);
}

void
check_note_pack (Check *check, const ChunkName *pack, const char *text)
{
  g_autofree char *object = object_name ("packs", pack);
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&check->lock);

  problem_of (check, object, text);
  pack_set_add (check->bad_packs, pack);
}

void
check_note_hurt (Check *check, const char *object, const char *checkpoint)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&check->lock);
  StoreProblem *problem = problem_of (check, object, "is damaged");

  g_hash_table_add (problem->checkpoints, g_strdup (checkpoint));
}

static int
compare_strings (gconstpointer a, gconstpointer b)
{
  return strcmp (*(const char **)a, *(const char **)b);
}

/* TRUE if that is gc's to remove and nobody misses it: repair has seen to it. */
static gboolean
is_left_to_gc (const Check *check, const StoreProblem *problem)
{
  ChunkName pack;

  return g_hash_table_size (problem->checkpoints) == 0 &&
         object_name_parse (problem->object, "packs", &pack) &&
         g_hash_table_contains (check->condemned, &pack);
}

static StoreFinding *
to_finding (const Check *check, StoreProblem *problem)
{
  StoreFinding *finding = g_new0 (StoreFinding, 1);
  g_autoptr (GPtrArray) ids = g_ptr_array_new();
  GHashTableIter iter;
  gpointer id;

  finding->object = g_strdup (problem->object);
  finding->left_to_gc = is_left_to_gc (check, problem);
  finding->problem =
      g_strconcat (problem->problem, finding->left_to_gc ? " (left to gc)" : "", NULL);
  g_hash_table_iter_init (&iter, problem->checkpoints);
  while (g_hash_table_iter_next (&iter, &id, NULL))
    g_ptr_array_add (ids, id);
  g_ptr_array_sort (ids, compare_strings);
  finding->checkpoints = g_new0 (char *, ids->len + 1);
  for (guint i = 0; i < ids->len; i++)
    finding->checkpoints[i] = g_strdup (ids->pdata[i]);
  return finding;
}

static gboolean
object_exists (Check *check, const char *object)
{
  guint64 size;
  return check->store->backend->ops->stat (check->store->backend, object, &size, NULL);
}

/* FALSE for what only looked wrong because others went on meanwhile: a checkpoint was removed, or
 * gc deleted a pack. */
static gboolean
still_matters (Check *check, GHashTable *indexed, StoreProblem *problem)
{
  GHashTableIter iter;
  ChunkName pack;
  gpointer id;

  g_hash_table_iter_init (&iter, problem->checkpoints);
  while (g_hash_table_iter_next (&iter, &id, NULL)) {
    g_autofree char *manifest = g_strconcat ("manifests/", id, NULL);
    if (!object_exists (check, manifest))
      g_hash_table_iter_remove (&iter);
  }
  return g_hash_table_size (problem->checkpoints) > 0 || object_exists (check, problem->object) ||
         (object_name_parse (problem->object, "packs", &pack) &&
          g_hash_table_contains (indexed, &pack));
}

gboolean
check_drop_passed (Check *check, GError **error)
{
  g_autoptr (IndexView) now = index_reload (check->store->index, error);
  g_autoptr (GHashTable) indexed = pack_set_new();
  GHashTableIter iter;
  gpointer problem;

  if (now == NULL)
    return FALSE;
  index_view_list_packs (now, indexed);
  g_hash_table_iter_init (&iter, check->problems);
  while (g_hash_table_iter_next (&iter, NULL, &problem))
    if (!still_matters (check, indexed, problem))
      g_hash_table_iter_remove (&iter);
  return TRUE;
}

static int
compare_findings (gconstpointer a, gconstpointer b)
{
  return strcmp ((*(StoreFinding **)a)->object, (*(StoreFinding **)b)->object);
}

GPtrArray *
check_findings (Check *check)
{
  GPtrArray *findings = g_ptr_array_new_with_free_func ((GDestroyNotify)store_finding_free);
  GHashTableIter iter;
  gpointer problem;

  g_hash_table_iter_init (&iter, check->problems);
  while (g_hash_table_iter_next (&iter, NULL, &problem))
    g_ptr_array_add (findings, to_finding (check, problem));
  g_ptr_array_sort (findings, compare_findings);
  return findings;
}
