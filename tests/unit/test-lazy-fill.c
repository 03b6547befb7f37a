/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A process whose memory is filled while it runs: it never sees anything but what the checkpoint
 * has, what it wrote itself, or zeros where it gave a page back.
 */
#include "fill-order.h"
#include "store-fixture.h"
#include "tracked-child.h"
#include "watched-backend.h"

#include <linux/userfaultfd.h>
#include <poll.h>
#include <vmckpt/ram/lazy-fill.h>

#define PAGES (16 * PAGE_MAP_STRETCH)

typedef struct {
  TrackedChild child;
  DirtyTracker *tracker;
  WatchedBackend *watched;
  Store *store;
  Manifest *manifest;
  guint64 seeds[PAGES];
  GMutex lock;
  GCond changed;
  guint complete, stuck; /* (lock): how often that was told */
} Scene;

static void
scene_clear (Scene *scene)
{
  g_clear_pointer (&scene->tracker, dirty_tracker_free);
  tracked_child_end (&scene->child);
  g_clear_pointer (&scene->manifest, manifest_free);
  g_clear_pointer (&scene->store, store_unref);
  g_mutex_clear (&scene->lock);
  g_cond_clear (&scene->changed);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Scene, scene_clear)

/* Data, single zeros, zeros of some length among data, and whole stretches of zeros. */
static guint64
seed_of (guint64 page)
{
  if (page / PAGE_MAP_STRETCH % 4 == 3 || page % 7 == 0 || page % 256 / 40 == 2)
    return 0;
  return 1 + page;
}

/* FALSE: skipped. */
static gboolean
scene_set (Scene *scene)
{
  g_autoptr (GError) error = NULL;

  g_mutex_init (&scene->lock);
  g_cond_init (&scene->changed);
  if (!tracked_child_start (&scene->child, PAGES))
    return FALSE;
  scene->tracker = dirty_tracker_new (&scene->child.memory, scene->child.log);
  if (!dirty_tracker_begin (scene->tracker, TRACK_ASYNC, FALSE, &error)) {
    g_test_skip (error->message);
    return FALSE;
  }
  for (guint64 page = 0; page < PAGES; page++)
    scene->seeds[page] = seed_of (page);
  scene->watched = watched_backend_new (backend_memory_new(), "packs/");
  scene->store = fixture_store_new (&scene->watched->backend);
  scene->manifest = fixture_checkpoint (scene->store, 1, scene->seeds, PAGES, NULL, NULL);
  dirty_log_set_source (scene->child.log, "store", scene->manifest->id);
  return TRUE;
}

static void
on_event (LazyFillEvent event, gpointer user_data)
{
  Scene *scene = user_data;
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&scene->lock);

  if (event == LAZY_FILL_COMPLETE)
    scene->complete++;
  else
    scene->stuck++;
  g_cond_broadcast (&scene->changed);
}

static void
await (Scene *scene, const guint *count)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&scene->lock);
  gint64 deadline = g_get_monotonic_time() + 60 * G_TIME_SPAN_SECOND;

  while (*count == 0)
    g_assert_true (g_cond_wait_until (&scene->changed, &scene->lock, deadline));
}

static LazyFill *
fill_new (Scene *scene, GBytes *order, gboolean discards)
{
  g_autoptr (GError) error = NULL;
  struct dirty_log_header *log = dirty_log_header (scene->child.log);
  const LazyFillSetup setup = {
    .store = scene->store,
    .map = manifest_find_part (scene->manifest, "ram", NULL)->map,
    .uffd = scene->child.memory.uffd_async,
    .address = scene->child.memory.address,
    .present = dirty_log_words (log, DIRTY_LOG_PRESENT),
    .discarded = dirty_log_words (log, DIRTY_LOG_DISCARDED),
    .order = order,
    .discards = discards,
    .func = on_event,
    .user_data = scene,
  };
  LazyFill *fill = lazy_fill_new (&setup, &error);

  g_assert_no_error (error);
  return fill;
}

static void
start (LazyFill *fill)
{
  g_autoptr (GError) error = NULL;

  lazy_fill_start (fill, &error);
  g_assert_no_error (error);
}

static LazyFill *
fill_started (Scene *scene, GBytes *order)
{
  g_autoptr (GError) error = NULL;
  LazyFill *fill = fill_new (scene, order, FALSE);

  lazy_fill_register (fill, &error);
  g_assert_no_error (error);
  start (fill);
  return fill;
}

static guint8
first_byte (guint64 seed)
{
  guint8 page[PAGE_SIZE_BYTES];

  fixture_page (seed, page);
  return page[0];
}

/* The child reads one page and finds what is expected there. */
static void
assert_reads (Scene *scene, guint64 page)
{
  g_assert_cmpuint (tracked_child_do (&scene->child, CHILD_READ, page, 1, 0), ==,
                    first_byte (scene->seeds[page]));
}

/* All of the memory, as whoever holds the file sees it. */
static void
assert_memory (Scene *scene)
{
  g_autofree guint8 *found = g_malloc (PAGE_SIZE_BYTES);
  guint8 wanted[PAGE_SIZE_BYTES];

  for (guint64 page = 0; page < PAGES; page++) {
    fixture_page (scene->seeds[page], wanted);
    g_assert_cmpint (
        pread (scene->child.memory.memory, found, PAGE_SIZE_BYTES, page * PAGE_SIZE_BYTES), ==,
        PAGE_SIZE_BYTES);
    g_assert_cmpmem (found, PAGE_SIZE_BYTES, wanted, PAGE_SIZE_BYTES);
  }
}

/* Everything arrives; the guest that reads meanwhile sees what was saved; then nothing is missing.
 */
static void
test_whole (void)
{
  g_auto (Scene) scene = { 0 };
  g_auto (LazyFillStatus) status = { 0 };

  if (!scene_set (&scene))
    return;
  g_autoptr (LazyFill) fill = fill_started (&scene, NULL);
  for (guint64 i = 0; i < PAGES; i++)
    assert_reads (&scene, i * 1237 % PAGES);
  await (&scene, &scene.complete);
  assert_memory (&scene);
  lazy_fill_status (fill, &status);
  g_assert_true (status.complete);
  g_assert_cmpuint (status.present, ==, PAGES);
  g_assert_null (status.reason);
  /* Nobody serves any more: a page that was missing would let this wait for ever. */
  g_clear_pointer (&fill, lazy_fill_free);
  tracked_child_do (&scene.child, CHILD_READ, 0, PAGES, 0);
  g_assert_cmpuint (scene.complete, ==, 1);
  g_assert_cmpuint (scene.stuck, ==, 0);
}

/* What the guest writes while it is filled is known, and only that and some zeros count. */
static void
test_tracked (void)
{
  g_auto (Scene) scene = { 0 };
  g_autoptr (PageBitmap) written = page_bitmap_new (PAGES);
  g_autoptr (GError) error = NULL;

  if (!scene_set (&scene))
    return;
  g_autoptr (LazyFill) fill = fill_started (&scene, NULL);
  for (guint64 page = 5; page < PAGES; page += 100)
    tracked_child_do (&scene.child, CHILD_WRITE, page, 1, 7);
  await (&scene, &scene.complete);
  dirty_tracker_collect (scene.tracker, written, &error);
  g_assert_no_error (error);
  for (guint64 page = 0; page < PAGES; page++)
    if (page % 100 == 5)
      g_assert_true (page_bitmap_test (written, page));
    else if (page_bitmap_test (written, page))
      g_assert_cmpuint (scene.seeds[page], ==, 0);
}

/* Pages that were given back are zeros from then on, whether they had come before or not. */
static void
test_discards (void)
{
  g_auto (Scene) scene = { 0 };

  if (!scene_set (&scene))
    return;
  g_autoptr (LazyFill) fill = fill_started (&scene, NULL);
  struct dirty_log_header *log = dirty_log_header (scene.child.log);
  for (guint64 page = 1; page < PAGES; page += 97) {
    if (page % 2)
      assert_reads (&scene, page);
    dirty_log_set_bits (log, DIRTY_LOG_DISCARDED, page, page + 1);
    tracked_child_do (&scene.child, CHILD_PUNCH, page, 1, 0);
    scene.seeds[page] = 0;
    assert_reads (&scene, page);
  }
  await (&scene, &scene.complete);
  assert_memory (&scene);
  /* Also when all is there. */
  tracked_child_do (&scene.child, CHILD_PUNCH, 2, 1, 0);
  scene.seeds[2] = 0;
  assert_reads (&scene, 2);
}

/* Of a guest that gives pages back, none is missing in the end: nobody need serve it. */
static void
test_discards_unserved (void)
{
  g_auto (Scene) scene = { 0 };
  g_autoptr (GError) error = NULL;

  if (!scene_set (&scene))
    return;
  g_autoptr (LazyFill) fill = fill_new (&scene, NULL, TRUE);
  lazy_fill_register (fill, &error);
  g_assert_no_error (error);
  start (fill);
  await (&scene, &scene.complete);
  g_clear_pointer (&fill, lazy_fill_free);
  assert_memory (&scene);
  tracked_child_do (&scene.child, CHILD_PUNCH, 10, 50, 0);
  g_assert_cmpuint (tracked_child_do (&scene.child, CHILD_READ, 10, 50, 0), ==, 0);
  /* And it is tracked as before. */
  g_autoptr (PageBitmap) written = page_bitmap_new (PAGES);
  dirty_tracker_collect (scene.tracker, written, &error);
  g_assert_no_error (error);
  page_bitmap_clear_all (written);
  tracked_child_do (&scene.child, CHILD_WRITE, 100, 1, 9);
  dirty_tracker_collect (scene.tracker, written, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (page_bitmap_count (written), ==, 1);
}

/* Nobody serves: the guest waits. The next fill goes on where the first ended, and reads nothing
 * twice. */
static void
test_next (void)
{
  g_auto (Scene) scene = { 0 };
  guint64 seen = 0;

  if (!scene_set (&scene))
    return;
  g_autoptr (LazyFill) fill = fill_new (&scene, NULL, FALSE);
  g_autoptr (GError) error = NULL;
  lazy_fill_register (fill, &error);
  g_assert_no_error (error);
  lazy_fill_bring (fill, 0, 64, &error);
  g_assert_no_error (error);
  g_clear_pointer (&fill, lazy_fill_free);
  tracked_child_do (&scene.child, CHILD_WRITE, 3, 1, 42);
  tracked_child_order (&scene.child, CHILD_READ, 300, 1, 0); /* waits */
  fill = fill_new (&scene, NULL, FALSE);
  start (fill);
  seen = tracked_child_wait (&scene.child);
  g_assert_cmpuint (seen, ==, first_byte (scene.seeds[300]));
  await (&scene, &scene.complete);
  g_assert_cmpuint (tracked_child_do (&scene.child, CHILD_READ, 3, 1, 0), ==, 42);
  scene.seeds[3] = scene.seeds[4];
}

/* A page that cannot be read: told once, everything else goes on, and the guest gets the right page
 * when it can be had. */
static void
test_unreadable (void)
{
  g_auto (Scene) scene = { 0 };
  g_auto (LazyFillStatus) status = { 0 };
  g_autoptr (GError) error = NULL;

  if (!scene_set (&scene))
    return;
  g_autoptr (LazyFill) fill = fill_new (&scene, NULL, FALSE);
  lazy_fill_register (fill, &error);
  g_assert_no_error (error);
  scene.watched->fail_code = G_IO_ERROR_FAILED;
  watched_backend_fail (scene.watched, "packs/");
  start (fill);
  tracked_child_order (&scene.child, CHILD_READ, 300, 1, 0);
  await (&scene, &scene.stuck);
  lazy_fill_status (fill, &status);
  g_assert_true (status.stuck);
  g_assert_nonnull (status.reason);
  g_assert_false (lazy_fill_wait (fill, NULL, NULL, &error));
  g_assert_nonnull (error);
  g_assert_cmpuint (scene.complete, ==, 0);
  watched_backend_fail (scene.watched, NULL);
  lazy_fill_retry (fill, NULL);
  g_assert_cmpuint (tracked_child_wait (&scene.child), ==, first_byte (scene.seeds[300]));
  await (&scene, &scene.complete);
  assert_memory (&scene);
  g_assert_cmpuint (scene.stuck, ==, 1);
}

/* Until the child waits for a page. */
static void
await_fault (Scene *scene)
{
  struct pollfd polled = { .fd = scene->child.memory.uffd_async, .events = POLLIN };

  g_assert_cmpint (poll (&polled, 1, 60000), ==, 1);
}

/* A fault that was told to somebody who died of it: it is served all the same, or told to be
 * unreadable. */
static void
test_forsaken_fault (void)
{
  g_auto (Scene) scene = { 0 };
  g_autoptr (GError) error = NULL;
  struct uffd_msg message;

  if (!scene_set (&scene))
    return;
  g_autoptr (LazyFill) fill = fill_new (&scene, NULL, FALSE);
  lazy_fill_register (fill, &error);
  g_assert_no_error (error);
  g_clear_pointer (&fill, lazy_fill_free);
  tracked_child_order (&scene.child, CHILD_READ, 300, 1, 0);
  await_fault (&scene);
  g_assert_cmpint (read (scene.child.memory.uffd_async, &message, sizeof message), ==,
                   sizeof message);
  fill = fill_new (&scene, NULL, FALSE);
  scene.watched->fail_code = G_IO_ERROR_FAILED;
  watched_backend_fail (scene.watched, "packs/");
  start (fill);
  await (&scene, &scene.stuck);
  watched_backend_fail (scene.watched, NULL);
  lazy_fill_retry (fill, NULL);
  g_assert_cmpuint (tracked_child_wait (&scene.child), ==, first_byte (scene.seeds[300]));
  await (&scene, &scene.complete);
}

/* What is recorded is what the guest waited for, and only that. */
static void
test_touched (void)
{
  g_auto (Scene) scene = { 0 };
  g_autoptr (GBytes) order = NULL;
  g_autoptr (GError) error = NULL;
  const guint64 page = PAGES - 600;

  if (!scene_set (&scene))
    return;
  g_autoptr (LazyFill) fill = fill_new (&scene, NULL, FALSE);
  lazy_fill_register (fill, &error);
  g_assert_no_error (error);
  g_assert_null (lazy_fill_touched (fill));
  tracked_child_order (&scene.child, CHILD_READ, page, 1, 0);
  await_fault (&scene);
  /* Nobody reads in the background yet, who might bring the page before the fault is seen. */
  lazy_fill_serve (fill, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (tracked_child_wait (&scene.child), ==, first_byte (scene.seeds[page]));
  start (fill);
  await (&scene, &scene.complete);
  order = lazy_fill_touched (fill);
  g_assert_nonnull (order);
  g_autoptr (GArray) runs = fill_order_parse (order, PAGES / FILL_WINDOW_PAGES, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (runs->len, ==, 1);
  g_assert_cmpuint (g_array_index (runs, FillRun, 0).first, ==, page / FILL_WINDOW_PAGES);
}

/* Registration does not change between hold and release: pages are looked for in between. */
static void
test_hold (void)
{
  g_auto (Scene) scene = { 0 };
  g_autoptr (GError) error = NULL;

  if (!scene_set (&scene))
    return;
  g_autoptr (LazyFill) fill = fill_new (&scene, NULL, FALSE);
  lazy_fill_hold (fill);
  lazy_fill_register (fill, &error);
  g_assert_no_error (error);
  start (fill);
  for (guint64 i = 0; i < PAGES; i += 64)
    assert_reads (&scene, i + 1);
  g_assert_cmpuint (scene.complete, ==, 0);
  lazy_fill_release (fill);
  await (&scene, &scene.complete);
}

/* How many of this process's threads of that name are asleep. */
static guint
count_asleep (const char *name)
{
  g_autoptr (GDir) threads = g_dir_open ("/proc/self/task", 0, NULL);
  g_autofree char *wanted = g_strdup_printf ("(%s) S", name);
  guint count = 0;

  for (const char *id; (id = g_dir_read_name (threads)) != NULL;) {
    g_autofree char *path = g_build_filename ("/proc/self/task", id, "stat", NULL);
    g_autofree char *text = NULL;
    if (g_file_get_contents (path, &text, NULL, NULL))
      count += strstr (text, wanted) != NULL;
  }
  return count;
}

/* Being told to try again, with nothing that waits, leaves servers asleep: they are seen so many
 * times in a row. */
static void
test_idle (void)
{
  g_auto (Scene) scene = { 0 };
  gint64 deadline = g_get_monotonic_time() + 60 * G_TIME_SPAN_SECOND;

  if (!scene_set (&scene))
    return;
  g_autoptr (LazyFill) fill = fill_started (&scene, NULL);
  await (&scene, &scene.complete);
  lazy_fill_retry (fill, NULL);
  for (guint in_a_row = 0; in_a_row < 100; g_usleep (1000)) {
    g_assert_cmpint (g_get_monotonic_time(), <, deadline);
    in_a_row = count_asleep ("fill-serve") == 2 ? in_a_row + 1 : 0;
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/lazy-fill/whole", test_whole);
  g_test_add_func ("/lazy-fill/tracked", test_tracked);
  g_test_add_func ("/lazy-fill/discards", test_discards);
  g_test_add_func ("/lazy-fill/discards-unserved", test_discards_unserved);
  g_test_add_func ("/lazy-fill/next", test_next);
  g_test_add_func ("/lazy-fill/unreadable", test_unreadable);
  g_test_add_func ("/lazy-fill/forsaken-fault", test_forsaken_fault);
  g_test_add_func ("/lazy-fill/touched", test_touched);
  g_test_add_func ("/lazy-fill/hold", test_hold);
  g_test_add_func ("/lazy-fill/idle", test_idle);
  return g_test_run();
}
