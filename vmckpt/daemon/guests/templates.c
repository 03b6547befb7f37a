/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "templates.h"

#include "api-error.h"

#include <vmckpt/util/error.h>

#include <fcntl.h>
#include <sys/stat.h>

#define RETRY_SECONDS 5

struct _Templates {
  const Runtime *runtime;
  Stores *stores;
  GMutex trying; /* taken before @lock: one at a time opens a store for forks that wait */
  GMutex lock;
  GPtrArray *groups; /* of TemplateGroup */
};

struct _TemplateGroup {
  gatomicrefcount refs;
  Templates *templates;
  char *store_path, *id;
  TemplateFill *fill; /* (nullable) atomic, set once: NULL while the store cannot be opened */
  int memfd;          /* without a fill: the file; -1 */
  ino_t inode;        /* of it */
  /* Guarded by the lock of Templates: */
  GPtrArray *members; /* of char *: names */
  char *problem;      /* (nullable): why there is no fill */
  gboolean complete;
};

#define LOCK(templates)                                                                            \
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&(templates)->lock)

static void
group_free (TemplateGroup *group)
{
  template_fill_free (group->fill);
  fd_close (&group->memfd);
  g_ptr_array_unref (group->members);
  g_free (group->store_path);
  g_free (group->id);
  g_free (group->problem);
  g_free (group);
}

void
template_group_unref (TemplateGroup *group)
{
  if (group != NULL && g_atomic_ref_count_dec (&group->refs))
    group_free (group);
}

static TemplateGroup *
group_ref (TemplateGroup *group)
{
  g_atomic_ref_count_inc (&group->refs);
  return group;
}

static TemplateGroup *
group_new (Templates *templates, const char *store_path, const char *id)
{
  TemplateGroup *group = g_new0 (TemplateGroup, 1);

  g_atomic_ref_count_init (&group->refs);
  group->templates = templates;
  group->store_path = g_strdup (store_path);
  group->id = g_strdup (id);
  group->memfd = -1;
  group->members = g_ptr_array_new_with_free_func (g_free);
  return group;
}

TemplateFill *
template_group_fill (TemplateGroup *group)
{
  return g_atomic_pointer_get (&group->fill);
}

/* ---- All is there ---- */

/* Takes a reference of the group's. */
static gpointer
finish_thread (gpointer data)
{
  g_autoptr (TemplateGroup) group = data;
  Templates *templates = group->templates;
  g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);

  {
    LOCK (templates);
    for (guint i = 0; i < group->members->len; i++)
      g_ptr_array_add (names, g_strdup (group->members->pdata[i]));
    if (g_ptr_array_find (templates->groups, group, NULL))
      g_ptr_array_remove (templates->groups, group);
  }
  for (guint i = 0; i < names->len; i++) {
    g_autofree char *directory = runtime_guest_directory (templates->runtime, names->pdata[i]);
    fork_source_remove (directory);
  }
  return NULL;
}

/* From a thread of the fill's, which cannot end it. A group that is not in the list is either not
 * kept yet, and then templates_keep() sees that it is complete, or is just being freed. */
static void
on_fill_event (LazyFillEvent event, gpointer user_data)
{
  TemplateGroup *group = user_data;

  if (event != LAZY_FILL_COMPLETE)
    return;
  LOCK (group->templates);
  group->complete = TRUE;
  if (g_ptr_array_find (group->templates->groups, group, NULL))
    g_thread_unref (g_thread_new ("template-done", finish_thread, group_ref (group)));
}

/* ---- New ones ---- */

Templates *
templates_new (const Runtime *runtime, Stores *stores)
{
  Templates *templates = g_new0 (Templates, 1);

  templates->runtime = runtime;
  templates->stores = stores;
  g_mutex_init (&templates->trying);
  g_mutex_init (&templates->lock);
  templates->groups = g_ptr_array_new_with_free_func ((GDestroyNotify)template_group_unref);
  return templates;
}

TemplateGroup *
templates_open (Templates *templates, Store *store, const char *store_path, const char *id,
                const PageMap *map, GError **error)
{
  g_autoptr (TemplateGroup) group = group_new (templates, store_path, id);

  group->fill = template_fill_new (store, map, -1, on_fill_event, group, error);
  return group->fill != NULL ? g_steal_pointer (&group) : NULL;
}

void
template_group_add_member (TemplateGroup *group, const char *name)
{
  LOCK (group->templates);
  g_ptr_array_add (group->members, g_strdup (name));
}

void
templates_keep (Templates *templates, TemplateGroup *group)
{
  gboolean complete;

  {
    LOCK (templates);
    complete = group->complete;
    if (!complete)
      g_ptr_array_add (templates->groups, group_ref (group));
  }
  /* It was complete before its guests' files were all written. */
  if (complete)
    finish_thread (group_ref (group));
}

/* (transfer full) (nullable). */
static TemplateGroup *
find_group (Templates *templates, const char *name)
{
  LOCK (templates);

  for (guint i = 0; i < templates->groups->len; i++) {
    TemplateGroup *group = templates->groups->pdata[i];
    if (g_ptr_array_find_with_equal_func (group->members, name, g_str_equal, NULL))
      return group_ref (group);
  }
  return NULL;
}

/* ---- What is asked about a guest ---- */

char *
templates_reason (Templates *templates, const char *name)
{
  g_autoptr (TemplateGroup) group = find_group (templates, name);
  g_auto (LazyFillStatus) status = { 0 };

  if (group == NULL)
    return NULL;
  if (template_group_fill (group) == NULL) {
    LOCK (templates);
    return g_strdup (group->problem);
  }
  template_fill_status (group->fill, &status);
  if (status.reason == NULL)
    return NULL;
  g_autoptr (GArray) pages = template_waiting (template_fill_template (group->fill), name);
  return g_strdup_printf (status.stuck && pages->len > 0
                              ? "it waits for memory that cannot be read: %s"
                              : "memory that it has not needed yet cannot be read: %s",
                          status.reason);
}

guint64
templates_missing (Templates *templates, const char *name)
{
  g_autoptr (TemplateGroup) group = find_group (templates, name);
  g_auto (LazyFillStatus) status = { 0 };

  if (group == NULL || template_group_fill (group) == NULL)
    return 0;
  template_fill_status (group->fill, &status);
  return status.complete ? 0 : (status.pages - status.present) * PAGE_SIZE_BYTES;
}

gboolean
templates_wait (Templates *templates, const char *name, GCancellable *cancellable, GError **error)
{
  g_autoptr (TemplateGroup) group = find_group (templates, name);
  ERROR_PREFIX (error, "waiting until the memory of fork %s is all there", name);

  if (group == NULL)
    return TRUE;
  if (template_group_fill (group) != NULL)
    return template_fill_wait (group->fill, cancellable, error);
  LOCK (templates);
  g_set_error_literal (error, API_ERROR, API_FAILED,
                       group->problem != NULL ? group->problem : "it is just being looked for");
  return FALSE;
}

void
templates_forget (Templates *templates, const char *name)
{
  g_autoptr (TemplateGroup) group = find_group (templates, name);

  if (group == NULL)
    return;
  if (template_group_fill (group) != NULL)
    template_remove (template_fill_template (group->fill), name);
  LOCK (templates);
  guint index;
  if (g_ptr_array_find_with_equal_func (group->members, name, g_str_equal, &index))
    g_ptr_array_remove_index (group->members, index);
  if (group->members->len == 0)
    g_ptr_array_remove (templates->groups, group);
}

/* ---- Forks of an earlier daemon ---- */

/* The group of that file, new if there is none. */
static TemplateGroup *
group_of (Templates *templates, GuestRam *ram, const char *store_path, const char *id)
{
  struct stat file;
  LOCK (templates);

  if (fstat (guest_ram_fd (ram), &file) < 0)
    return NULL;
  for (guint i = 0; i < templates->groups->len; i++) {
    TemplateGroup *group = templates->groups->pdata[i];
    if (group->inode == file.st_ino && g_str_equal (group->id, id))
      return group_ref (group);
  }
  int memfd = fcntl (guest_ram_fd (ram), F_DUPFD_CLOEXEC, 0);
  if (memfd < 0)
    return NULL;
  TemplateGroup *group = group_new (templates, store_path, id);
  group->inode = file.st_ino;
  group->memfd = memfd;
  g_ptr_array_add (templates->groups, group_ref (group));
  return group;
}

/* The RAM of @name's QEMU, found without asking QEMU anything. */
static GuestRam *
find_ram (Templates *templates, const char *name, GError **error)
{
  g_autofree char *directory = runtime_guest_directory (templates->runtime, name);
  g_autoptr (GuestSpec) spec = qemu_read_spec (directory, error);
  KeeperState state;

  if (spec == NULL || !keeper_read_state (directory, &state, error))
    return NULL;
  return guest_ram_find (state.qemu, spec->ram_id, error);
}

static gboolean
serve_member (Templates *templates, TemplateGroup *group, const char *name, GError **error)
{
  g_autoptr (GuestRam) ram = find_ram (templates, name, error);

  return ram != NULL && template_add (template_fill_template (group->fill), name,
                                      guest_ram_uffd_sync (ram), guest_ram_address (ram), error);
}

/* Opens the store and begins to serve the group's guests. */
static gboolean
begin_group (Templates *templates, TemplateGroup *group, Store *given, GError **error)
{
  g_autoptr (Store) store = given != NULL
                                ? store_ref (given)
                                : stores_get_own (templates->stores, group->store_path, error);
  g_autoptr (Manifest) manifest =
      store != NULL ? store_manifest_load (store, group->id, error) : NULL;
  g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);

  if (manifest == NULL)
    return FALSE;
  {
    LOCK (templates);
    for (guint i = 0; i < group->members->len; i++)
      g_ptr_array_add (names, g_strdup (group->members->pdata[i]));
  }
  if (names->len == 0) {
    g_set_error_literal (error, API_ERROR, API_FAILED, "its forks have ended");
    return FALSE;
  }
  g_autofree char *directory = runtime_guest_directory (templates->runtime, names->pdata[0]);
  g_autoptr (GuestSpec) spec = qemu_read_spec (directory, error);
  const ManifestPart *part = spec != NULL ? unit_fork_part (manifest, spec, error) : NULL;
  if (part == NULL)
    return FALSE;
  TemplateFill *fill =
      template_fill_new (store, &part->map, group->memfd, on_fill_event, group, error);
  if (fill == NULL)
    return FALSE;
  g_atomic_pointer_set (&group->fill, fill);
  for (guint i = 0; i < names->len; i++) {
    g_autoptr (GError) cause = NULL;
    if (!serve_member (templates, group, names->pdata[i], &cause))
      g_warning ("fork %s: %s", (char *)names->pdata[i], cause->message);
  }
  return template_fill_start (group->fill, error);
}

static void
try_group (Templates *templates, TemplateGroup *group, Store *store)
{
  g_autoptr (GMutexLocker) trying G_GNUC_UNUSED = g_mutex_locker_new (&templates->trying);
  g_autoptr (GError) error = NULL;

  /* A user's retry and ours may come at the same time. */
  if (template_group_fill (group) != NULL || begin_group (templates, group, store, &error))
    return;
  LOCK (templates);
  g_free (group->problem);
  group->problem = g_strdup_printf ("its memory is in checkpoint %.12s, which cannot be read: %s",
                                    group->id, error->message);
}

/* Groups whose store could not be opened; (transfer full). */
static GPtrArray *
waiting_groups (Templates *templates)
{
  GPtrArray *groups = g_ptr_array_new_with_free_func ((GDestroyNotify)template_group_unref);
  LOCK (templates);

  for (guint i = 0; i < templates->groups->len; i++) {
    TemplateGroup *group = templates->groups->pdata[i];
    if (template_group_fill (group) == NULL)
      g_ptr_array_add (groups, group_ref (group));
  }
  return groups;
}

/* For as long as there is one. Stores may take their time. */
static gpointer
retry_thread (gpointer data)
{
  Templates *templates = data;

  for (;;) {
    g_usleep (RETRY_SECONDS * G_USEC_PER_SEC);
    g_autoptr (GPtrArray) groups = waiting_groups (templates);
    if (groups->len == 0)
      return NULL;
    for (guint i = 0; i < groups->len; i++)
      try_group (templates, groups->pdata[i], NULL);
  }
}

static void
take_over_guest (Templates *templates, const char *name)
{
  g_autofree char *directory = runtime_guest_directory (templates->runtime, name);
  g_autofree char *store_path = NULL;
  g_autofree char *id = NULL;
  g_autoptr (GError) error = NULL;

  if (!fork_source_read (directory, &store_path, &id, NULL))
    return;
  g_autoptr (GuestRam) ram = find_ram (templates, name, &error);
  if (ram == NULL) {
    g_message ("fork %s: %s", name, error->message);
    return;
  }
  g_autoptr (TemplateGroup) group = group_of (templates, ram, store_path, id);
  if (group != NULL)
    template_group_add_member (group, name);
}

void
templates_take_over (Templates *templates)
{
  g_autoptr (GDir) dir = g_dir_open (templates->runtime->guests, 0, NULL);
  const char *name;

  while (dir != NULL && (name = g_dir_read_name (dir)) != NULL)
    take_over_guest (templates, name);
  g_autoptr (GPtrArray) groups = waiting_groups (templates);
  for (guint i = 0; i < groups->len; i++)
    try_group (templates, groups->pdata[i], NULL);
  if (groups->len > 0)
    g_thread_unref (g_thread_new ("templates", retry_thread, templates));
}

void
templates_retry (Templates *templates, const char *name, Store *store)
{
  g_autoptr (TemplateGroup) group = find_group (templates, name);

  if (group == NULL)
    return;
  if (template_group_fill (group) != NULL)
    template_fill_retry (group->fill, store);
  else
    try_group (templates, group, store);
}
