/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "qemu-stream.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vmckpt/qmp/commands.h>
#include <vmckpt/util/fd.h>

/* Waits for the end of a migration. FALSE if it failed. */
static gboolean
wait_for_end (QmpClient *client)
{
  for (;;) {
    g_auto (QmpMigration) migration = { 0 };
    g_autoptr (GError) error = NULL;
    qmp_query_migrate (client, &migration, &error);
    g_assert_no_error (error);
    if (strcmp (migration.status, "completed") == 0)
      return TRUE;
    if (strcmp (migration.status, "failed") == 0)
      return FALSE;
  }
}

GBytes *
qemu_stream_take (QemuProcess *qemu, StreamKind kind)
{
  g_autoptr (QmpClient) client = qemu_process_connect (qemu);
  g_autoptr (GError) error = NULL;
  g_auto (AutoFd) file = memfd_create ("stream", MFD_CLOEXEC);
  struct stat status;

  if (kind == STREAM_STOPPED || kind == STREAM_SHARED)
    qmp_stop (client, &error);
  g_assert_no_error (error);
  if (kind == STREAM_SHARED)
    qmp_migrate_set_capability (client, "x-ignore-shared", TRUE, &error);
  g_assert_no_error (error);
  if (kind == STREAM_BACKGROUND &&
      !qmp_migrate_set_capability (client, "background-snapshot", TRUE, NULL)) {
    g_test_skip ("QEMU may not use userfaultfd here");
    return NULL;
  }
  qmp_getfd (client, "stream", file, &error);
  g_assert_no_error (error);
  qmp_migrate (client, "fd:stream", &error);
  g_assert_no_error (error);
  g_assert_true (wait_for_end (client));
  g_assert_no_errno (fstat (file, &status));
  g_autofree guint8 *data = g_malloc ((gsize)status.st_size);
  g_assert_cmpint (pread (file, data, (gsize)status.st_size, 0), ==, status.st_size);
  return g_bytes_new_take (g_steal_pointer (&data), (gsize)status.st_size);
}

void
stream_contents_clear (StreamContents *contents)
{
  g_free (contents->machine);
  g_clear_pointer (&contents->blocks, g_array_unref);
  g_clear_pointer (&contents->images, g_ptr_array_unref);
  g_clear_pointer (&contents->seen, g_ptr_array_unref);
  g_clear_pointer (&contents->configuration, g_byte_array_unref);
  g_clear_pointer (&contents->device_state, g_byte_array_unref);
  *contents = (StreamContents){ 0 };
}

/* A byte array of @len zeros. */
static GByteArray *
zeros (gsize len)
{
  GByteArray *array = g_byte_array_new();

  g_byte_array_set_size (array, (guint)len);
  if (len > 0)
    memset (array->data, 0, len);
  return array;
}

static void
add_blocks (StreamContents *contents, StreamReader *reader)
{
  guint count;
  const StreamBlock *blocks = stream_reader_blocks (reader, &count);

  g_array_append_vals (contents->blocks, blocks, count);
  for (guint i = 0; i < count; i++) {
    g_ptr_array_add (contents->images, zeros (blocks[i].length));
    g_ptr_array_add (contents->seen, zeros (blocks[i].length / STREAM_PAGE_SIZE));
  }
}

static void
add_page (StreamContents *contents, const StreamItem *item)
{
  GByteArray *image = g_ptr_array_index (contents->images, item->block);
  guint8 *seen = &((GByteArray *)g_ptr_array_index (contents->seen, item->block))
                      ->data[item->offset / STREAM_PAGE_SIZE];

  if (item->data != NULL)
    memcpy (image->data + item->offset, item->data, STREAM_PAGE_SIZE);
  else
    memset (image->data + item->offset, 0, STREAM_PAGE_SIZE);
  *seen += *seen < 255;
}

gboolean
stream_contents_read (StreamContents *contents, StreamReader *reader, GError **error)
{
  StreamItem item;

  *contents = (StreamContents){
    .blocks = g_array_new (FALSE, FALSE, sizeof (StreamBlock)),
    .images = g_ptr_array_new_with_free_func ((GDestroyNotify)g_byte_array_unref),
    .seen = g_ptr_array_new_with_free_func ((GDestroyNotify)g_byte_array_unref),
    .configuration = g_byte_array_new(),
    .device_state = g_byte_array_new(),
  };
  while (stream_reader_next (reader, &item, error)) {
    switch (item.type) {
    case STREAM_ITEM_CONFIGURATION:
      contents->machine = g_strdup (item.machine);
      g_byte_array_append (contents->configuration, item.data, (guint)item.len);
      break;
    case STREAM_ITEM_BLOCKS:
      add_blocks (contents, reader);
      break;
    case STREAM_ITEM_PAGE:
      add_page (contents, &item);
      break;
    case STREAM_ITEM_DEVICE_STATE:
      g_byte_array_append (contents->device_state, item.data, (guint)item.len);
      break;
    case STREAM_ITEM_END:
      return TRUE;
    }
  }
  return FALSE;
}

guint
stream_contents_block (StreamContents *contents, const char *name)
{
  for (guint i = 0; i < contents->blocks->len; i++)
    if (strcmp (g_array_index (contents->blocks, StreamBlock, i).name, name) == 0)
      return i;
  g_assert_not_reached();
}
