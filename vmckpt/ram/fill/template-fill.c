/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/ram/template-fill.h>

#include <string.h>
#include <sys/stat.h>

struct _TemplateFill {
  Store *store;
  PageMapReader *map; /* names alone are asked of it, by the template's thread */
  Template *template;
  LazyFill *fill;
  LazyFillFunc func;
  gpointer user_data;
  GMutex lock;
  GCancellable *loading; /* (nullable) (lock) */
};

/* A page that cannot be told is asked for, and then the fill says why. */
static gboolean
is_zero (guint64 page, gpointer user_data)
{
  TemplateFill *fill = user_data;
  static const ChunkName zeros;
  ChunkName name;

  return page_map_reader_name (fill->map, page, &name, NULL) &&
         memcmp (&name, &zeros, sizeof name) == 0;
}

static void
on_want (guint64 page, gpointer user_data)
{
  TemplateFill *fill = user_data;
  lazy_fill_want (fill->fill, page);
}

static void
on_delivered (guint64 first, guint64 count, gpointer user_data)
{
  TemplateFill *fill = user_data;
  template_wake (fill->template, first, count);
}

static void
on_event (LazyFillEvent event, gpointer user_data)
{
  TemplateFill *fill = user_data;

  if (event == LAZY_FILL_STUCK) {
    g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&fill->lock);
    if (fill->loading != NULL)
      g_cancellable_cancel (fill->loading);
  }
  if (event == LAZY_FILL_COMPLETE)
    template_release (fill->template);
  if (fill->func != NULL)
    fill->func (event, fill->user_data);
}

TemplateFill *
template_fill_new (Store *store, const PageMap *map, int memfd, LazyFillFunc func,
                   gpointer user_data, GError **error)
{
  g_autoptr (TemplateFill) fill = g_new0 (TemplateFill, 1);
  TemplateSetup template = {
    .memfd = memfd, .length = map->length, .is_zero = is_zero, .want = on_want, .user_data = fill
  };

  g_mutex_init (&fill->lock);
  fill->func = func;
  fill->user_data = user_data;
  fill->map = page_map_reader_new (store, map, error);
  fill->template = fill->map != NULL ? template_new (&template, error) : NULL;
  if (fill->template == NULL)
    return NULL;
  LazyFillSetup setup = { .store = store,
                          .map = *map,
                          .uffd = template_uffd (fill->template),
                          .address = template_address (fill->template),
                          .present = template_present (fill->template),
                          .func = on_event,
                          .user_data = fill,
                          .untracked = TRUE,
                          .delivered = on_delivered };
  fill->fill = lazy_fill_new (&setup, error);
  return fill->fill != NULL ? g_steal_pointer (&fill) : NULL;
}

void
template_fill_free (TemplateFill *fill)
{
  if (fill == NULL)
    return;
  /* Either asks the other: first who asks, then who is asked. The fill's last words go to a
   * template that has no thread any more. */
  if (fill->template != NULL)
    template_stop (fill->template);
  lazy_fill_free (fill->fill);
  template_free (fill->template);
  page_map_reader_free (fill->map);
  g_clear_object (&fill->loading);
  g_mutex_clear (&fill->lock);
  g_free (fill);
}

void
template_fill_guard (TemplateFill *fill, GCancellable *loading)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&fill->lock);
  g_set_object (&fill->loading, loading);
}

Template *
template_fill_template (TemplateFill *fill)
{
  return fill->template;
}

gboolean
template_fill_start (TemplateFill *fill, GError **error)
{
  return lazy_fill_start (fill->fill, error);
}

void
template_fill_status (TemplateFill *fill, LazyFillStatus *status)
{
  TemplateStats stats;

  lazy_fill_status (fill->fill, status);
  template_stats (fill->template, &stats);
  status->faults = stats.faults;
}

void
template_fill_retry (TemplateFill *fill, Store *store)
{
  lazy_fill_retry (fill->fill, store);
}

gboolean
template_fill_wait (TemplateFill *fill, GCancellable *cancellable, GError **error)
{
  return lazy_fill_wait (fill->fill, NULL, cancellable, error);
}

guint64
template_fill_memory (TemplateFill *fill)
{
  struct stat file;
  return fstat (template_memfd (fill->template), &file) == 0 ? (guint64)file.st_blocks * 512 : 0;
}
