/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A name in a directory is an entry: "packs/ab" → an inode, or a directory. Each step of the
 * journal that is about names changes entries. A step counts after the cut if one of its entries'
 * directories was synced after it, or if it is chosen to; it cannot be chosen if an earlier step
 * about one of its entries does not count.
 */
#include "power-cut.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIRECTORY G_MAXUINT64 /* in place of an inode */

typedef enum { STEP_NAMES, STEP_WRITE, STEP_SYNC, STEP_SYNC_DIRECTORY, STEP_MARK } StepKind;

typedef struct {
  char *path;
  guint64 value; /* inode, DIRECTORY, or 0: no such name */
} Change;

typedef struct {
  char *line;
  StepKind kind;
  guint64 inode, offset, length; /* STEP_WRITE, STEP_SYNC */
  char *text;                    /* STEP_SYNC_DIRECTORY: path; STEP_MARK */
  Change change[2];
  guint changes;
} Step;

struct _PowerCut {
  char *directory, *scratch, *pool, *journal;
  GHashTable *before; /* path → value: the names at the start */
  GPtrArray *steps;   /* of Step */
  GHashTable *now;    /* path → value: the names after all steps */
};

static void
step_free (Step *step)
{
  g_free (step->line);
  g_free (step->text);
  for (guint i = 0; i < step->changes; i++)
    g_free (step->change[i].path);
  g_free (step);
}

static GHashTable *
names_new (void)
{
  return g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
}

static void
names_set (GHashTable *names, const char *path, guint64 value)
{
  if (value == 0)
    g_hash_table_remove (names, path);
  else
    g_hash_table_insert (names, g_strdup (path), g_memdup2 (&value, sizeof value));
}

static guint64
names_get (GHashTable *names, const char *path)
{
  const guint64 *value = g_hash_table_lookup (names, path);
  return value != NULL ? *value : 0;
}

/* Takes in what is there at the start, and keeps the files' content. */
static void
survey (PowerCut *cut, const char *below)
{
  g_autofree char *path = g_build_filename (cut->directory, below, NULL);
  g_autoptr (GDir) listing = g_dir_open (path, 0, NULL);
  const char *name;

  g_assert_nonnull (listing);
  while ((name = g_dir_read_name (listing)) != NULL) {
    g_autofree char *relative =
        *below != 0 ? g_strconcat (below, "/", name, NULL) : g_strdup (name);
    g_autofree char *file = g_build_filename (path, name, NULL);
    struct stat st;
    g_assert_cmpint (lstat (file, &st), ==, 0);
    names_set (cut->before, relative, S_ISDIR (st.st_mode) ? DIRECTORY : st.st_ino);
    if (S_ISDIR (st.st_mode)) {
      survey (cut, relative);
      continue;
    }
    g_autofree char *kept = g_strdup_printf ("%s/%" G_GUINT64_FORMAT, cut->pool, st.st_ino);
    g_assert_cmpint (link (file, kept), ==, 0);
  }
}

PowerCut *
power_cut_new (const char *directory)
{
  PowerCut *cut = g_new0 (PowerCut, 1);

  cut->directory = g_strdup (directory);
  cut->scratch = g_strconcat (directory, ".power-cut-XXXXXX", NULL);
  g_assert_nonnull (g_mkdtemp (cut->scratch));
  cut->pool = g_build_filename (cut->scratch, "pool", NULL);
  cut->journal = g_build_filename (cut->scratch, "journal", NULL);
  g_assert_cmpint (g_mkdir (cut->pool, 0777), ==, 0);
  cut->before = names_new();
  cut->now = names_new();
  cut->steps = g_ptr_array_new_with_free_func ((GDestroyNotify)step_free);
  survey (cut, "");
  GHashTableIter iter;
  gpointer path, value;
  g_hash_table_iter_init (&iter, cut->before);
  while (g_hash_table_iter_next (&iter, &path, &value))
    names_set (cut->now, path, *(guint64 *)value);
  return cut;
}

static int
remove_entry (const char *path, const struct stat *st, int kind, struct FTW *where)
{
  return remove (path);
}

void
power_cut_free (PowerCut *cut)
{
  nftw (cut->scratch, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
  g_hash_table_unref (cut->before);
  g_hash_table_unref (cut->now);
  g_ptr_array_unref (cut->steps);
  g_free (cut->directory);
  g_free (cut->scratch);
  g_free (cut->pool);
  g_free (cut->journal);
  g_free (cut);
}

static void
add_change (PowerCut *cut, Step *step, const char *path, guint64 value)
{
  step->kind = STEP_NAMES;
  step->change[step->changes++] = (Change){ g_strdup (path), value };
  names_set (cut->now, path, value);
}

/* Reads one line of the journal. */
static void
add_step (PowerCut *cut, const char *line)
{
  g_auto (GStrv) word = g_strsplit (line, " ", 4);
  const char *verb = word[0], *first = word[1];
  Step *step = g_new0 (Step, 1);

  step->line = g_strdup (line);
  g_ptr_array_add (cut->steps, step);
  if (g_str_equal (verb, "create")) {
    add_change (cut, step, word[2], g_ascii_strtoull (first, NULL, 10));
  } else if (g_str_equal (verb, "rename")) {
    guint64 value = names_get (cut->now, first);
    g_assert_cmpuint (value, !=, 0);
    add_change (cut, step, first, 0);
    add_change (cut, step, word[2], value);
  } else if (g_str_equal (verb, "link")) {
    add_change (cut, step, word[2], names_get (cut->now, first));
  } else if (g_str_equal (verb, "mkdir")) {
    add_change (cut, step, first, DIRECTORY);
  } else if (g_str_equal (verb, "unlink") || g_str_equal (verb, "rmdir")) {
    add_change (cut, step, first, 0);
  } else if (g_str_equal (verb, "write")) {
    step->kind = STEP_WRITE;
    step->inode = g_ascii_strtoull (first, NULL, 10);
    step->offset = g_ascii_strtoull (word[2], NULL, 10);
    step->length = g_ascii_strtoull (word[3], NULL, 10);
  } else if (g_str_equal (verb, "sync")) {
    step->kind = STEP_SYNC;
    step->inode = g_ascii_strtoull (first, NULL, 10);
  } else if (g_str_equal (verb, "syncdir") || g_str_equal (verb, "mark")) {
    step->kind = *verb == 's' ? STEP_SYNC_DIRECTORY : STEP_MARK;
    step->text = g_strdup (strchr (line, ' ') + 1);
  } else {
    g_error ("a line of the journal that nobody knows: %s", line);
  }
}

int
power_cut_run (PowerCut *cut, const char *const *argv, const char *fault)
{
  g_auto (GStrv) environment = g_get_environ();
  g_autofree char *text = NULL;
  g_autoptr (GError) error = NULL;
  int status;

  environment = g_environ_setenv (environment, "LD_PRELOAD", g_getenv ("POWER_CUT"), TRUE);
  /* A sanitizer wants to be the first object that is loaded; it need not be, for this one. */
  environment = g_environ_setenv (environment, "ASAN_OPTIONS", "verify_asan_link_order=0", TRUE);
  environment = g_environ_setenv (environment, "POWER_CUT_DIR", cut->directory, TRUE);
  environment = g_environ_setenv (environment, "POWER_CUT_JOURNAL", cut->journal, TRUE);
  environment = g_environ_setenv (environment, "POWER_CUT_POOL", cut->pool, TRUE);
  environment = g_environ_setenv (environment, "VMCKPT_FAULT", fault != NULL ? fault : "", TRUE);
  g_spawn_sync (NULL, (char **)argv, environment, G_SPAWN_CHILD_INHERITS_STDIN, NULL, NULL, NULL,
                NULL, &status, &error);
  g_assert_no_error (error);
  g_file_get_contents (cut->journal, &text, NULL, &error);
  g_assert_no_error (error);
  g_auto (GStrv) lines = g_strsplit (text, "\n", -1);
  for (guint i = cut->steps->len; lines[i] != NULL && *lines[i] != 0; i++)
    add_step (cut, lines[i]);
  return status;
}

void
power_cut_promise (const char *text)
{
  void (*mark) (const char *) = (void (*) (const char *))dlsym (RTLD_DEFAULT, "power_cut_mark");

  if (mark != NULL)
    mark (text);
}

guint
power_cut_steps (PowerCut *cut)
{
  return cut->steps->len;
}

const char *
power_cut_step (PowerCut *cut, guint step)
{
  return ((Step *)cut->steps->pdata[step])->line;
}

gboolean
power_cut_promised (PowerCut *cut, guint steps, const char *text)
{
  for (guint i = 0; i < steps; i++) {
    const Step *step = cut->steps->pdata[i];
    if (step->kind == STEP_MARK && g_str_equal (step->text, text))
      return TRUE;
  }
  return FALSE;
}

static gboolean
is_in (const char *path, const char *directory)
{
  g_autofree char *parent = g_path_get_dirname (path);
  return g_str_equal (parent, directory);
}

/* Whether an entry of @step is on the medium at the cut, for sure. */
static gboolean
is_durable (PowerCut *cut, guint at, guint steps)
{
  const Step *step = cut->steps->pdata[at];

  for (guint i = at + 1; i < steps; i++) {
    const Step *sync = cut->steps->pdata[i];
    for (guint c = 0; sync->kind == STEP_SYNC_DIRECTORY && c < step->changes; c++)
      if (is_in (step->change[c].path, sync->text))
        return TRUE;
  }
  return FALSE;
}

/* The names that are there after the cut. */
static GHashTable *
surviving_names (PowerCut *cut, guint steps, PowerCutMode mode, GRand *chance)
{
  GHashTable *names = names_new();
  g_autoptr (GHashTable) broken = g_hash_table_new (g_str_hash, g_str_equal);
  GHashTableIter iter;
  gpointer path, value;

  g_hash_table_iter_init (&iter, cut->before);
  while (g_hash_table_iter_next (&iter, &path, &value))
    names_set (names, path, *(guint64 *)value);
  for (guint i = 0; i < steps; i++) {
    const Step *step = cut->steps->pdata[i];
    gboolean counts = mode == POWER_CUT_KEEP || (mode == POWER_CUT_LAST && i == steps - 1) ||
                      (mode == POWER_CUT_SOME && g_rand_boolean (chance));
    if (step->kind != STEP_NAMES)
      continue;
    for (guint c = 0; c < step->changes && mode != POWER_CUT_LAST; c++)
      counts = counts && !g_hash_table_contains (broken, step->change[c].path);
    counts = counts || is_durable (cut, i, steps);
    for (guint c = 0; c < step->changes; c++) {
      if (counts)
        names_set (names, step->change[c].path, step->change[c].value);
      else
        g_hash_table_add (broken, step->change[c].path);
    }
  }
  return names;
}

/* What is left of a file's data; new files are written once, from the beginning to the end. */
static void
surviving_data (PowerCut *cut, guint64 inode, guint steps, PowerCutMode mode, GRand *chance,
                GByteArray *data)
{
  guint64 synced = 0, written = 0;
  gboolean is_new = FALSE;

  for (guint i = 0; i < cut->steps->len; i++) {
    const Step *step = cut->steps->pdata[i];
    is_new = is_new || (step->kind == STEP_NAMES && g_str_has_prefix (step->line, "create ") &&
                        step->change[0].value == inode);
    if (i >= steps || step->inode != inode)
      continue;
    if (step->kind == STEP_WRITE) {
      /* Objects are immutable, so nothing is written in place; nor does this know how to undo it.
       */
      g_assert_true (is_new);
      g_assert_cmpuint (step->offset, ==, written);
      written += step->length;
    }
    if (step->kind == STEP_SYNC)
      synced = written;
  }
  if (!is_new)
    return;
  g_byte_array_set_size (data, written);
  guint64 end = written;
  if (mode == POWER_CUT_LOSE || mode == POWER_CUT_LAST ||
      (chance != NULL && g_rand_boolean (chance)))
    end = synced + (mode == POWER_CUT_SOME && written > synced
                        ? g_rand_int_range (chance, 0, written - synced + 1)
                        : 0);
  for (guint64 at = synced; at < written; at += 4096)
    if (mode != POWER_CUT_SOME || g_rand_boolean (chance))
      memset (data->data + at, 0, MIN (4096, written - at));
  g_byte_array_set_size (data, end);
}

static void
restore_file (PowerCut *cut, guint64 inode, guint steps, PowerCutMode mode, GRand *chance,
              const char *path, GChecksum *sum)
{
  g_autofree char *kept = g_strdup_printf ("%s/%" G_GUINT64_FORMAT, cut->pool, inode);
  g_autofree char *contents = NULL;
  g_autoptr (GError) error = NULL;
  gsize len;

  g_file_get_contents (kept, &contents, &len, &error);
  g_assert_no_error (error);
  g_autoptr (GByteArray) data = g_byte_array_new_take ((guint8 *)g_steal_pointer (&contents), len);
  surviving_data (cut, inode, steps, mode, chance, data);
  int fd = open (path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  g_assert_cmpint (fd, >=, 0);
  g_assert_cmpint (write (fd, data->data, data->len), ==, data->len);
  close (fd);
  g_checksum_update (sum, data->data, data->len);
}

static int
compare_paths (gconstpointer a, gconstpointer b)
{
  return strcmp (*(const char *const *)a, *(const char *const *)b);
}

char *
power_cut_restore (PowerCut *cut, guint steps, PowerCutMode mode, GRand *chance, const char *target)
{
  g_autoptr (GHashTable) names = surviving_names (cut, steps, mode, chance);
  g_autoptr (GChecksum) sum = g_checksum_new (G_CHECKSUM_SHA256);
  g_autoptr (GPtrArray) paths = g_ptr_array_new();
  GHashTableIter iter;
  gpointer path;

  g_hash_table_iter_init (&iter, names);
  while (g_hash_table_iter_next (&iter, &path, NULL))
    g_ptr_array_add (paths, path);
  g_ptr_array_sort (paths, compare_paths);
  for (guint i = 0; i < paths->len; i++) {
    guint64 value = names_get (names, paths->pdata[i]);
    g_autofree char *parent = g_path_get_dirname (paths->pdata[i]);
    g_autofree char *file = g_build_filename (target, paths->pdata[i], NULL);
    g_autofree char *directory = g_path_get_dirname (file);
    /* What is in a directory whose own name is lost is lost. */
    if (g_access (directory, F_OK) < 0)
      continue;
    g_checksum_update (sum, paths->pdata[i], strlen (paths->pdata[i]) + 1);
    if (value == DIRECTORY)
      g_assert_cmpint (g_mkdir (file, 0777), ==, 0);
    else
      restore_file (cut, value, steps, mode, chance, file, sum);
  }
  return g_strdup (g_checksum_get_string (sum));
}
