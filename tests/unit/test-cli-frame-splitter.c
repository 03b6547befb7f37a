/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli-error.h"
#include "frame-splitter.h"

#include <string.h>
#include <vmckpt/util/bytes.h>

static void
add (GByteArray *array, char type, guint32 len, gconstpointer data, gsize given)
{
  bytes_add_u8 (array, type);
  bytes_add_le32 (array, len);
  if (given > 0)
    g_byte_array_append (array, data, given);
}

/* However the answer is cut, the frames are the same. */
static void
test_any_cut (void)
{
  g_autoptr (GByteArray) all = g_byte_array_new();

  add (all, 'D', 3, "abc", 3);
  add (all, 'Z', 8, "\0\0\0\0\1\0\0\0", 8);
  add (all, 'J', 2, "{}", 2);
  for (gsize step = 1; step <= all->len; step++) {
    g_autoptr (FrameSplitter) splitter = frame_splitter_new();
    g_autoptr (GString) seen = g_string_new (NULL);
    for (gsize at = 0; at < all->len; at += step) {
      g_autoptr (GError) error = NULL;
      Frame frame;
      frame_splitter_add (splitter, all->data + at, MIN (step, all->len - at));
      while (frame_splitter_next (splitter, &frame, &error))
        g_string_append_printf (seen, "%c%" G_GSIZE_FORMAT ":%c ", frame.type, frame.len,
                                frame.data[0] != 0 ? frame.data[0] : '0');
      g_assert_no_error (error);
    }
    g_assert_cmpstr (seen->str, ==, "D3:a Z8:0 J2:{ ");
  }
}

static void
test_largest (void)
{
  g_autoptr (FrameSplitter) splitter = frame_splitter_new();
  g_autofree guint8 *data = g_malloc0 (FRAME_MAX);
  g_autoptr (GByteArray) all = g_byte_array_new();
  g_autoptr (GError) error = NULL;
  Frame frame;

  add (all, 'D', FRAME_MAX, data, FRAME_MAX);
  frame_splitter_add (splitter, all->data, all->len - 1);
  g_assert_false (frame_splitter_next (splitter, &frame, &error));
  g_assert_no_error (error);
  frame_splitter_add (splitter, all->data + all->len - 1, 1);
  g_assert_true (frame_splitter_next (splitter, &frame, &error));
  g_assert_cmpuint (frame.len, ==, FRAME_MAX);
  g_assert_false (frame_splitter_next (splitter, &frame, &error));
  g_assert_no_error (error);
}

/* Seen by the head alone: nothing is collected for a frame that cannot be. */
static void
test_garbled_heads (void)
{
  static const struct {
    char type;
    guint32 len;
  } heads[] = { { 'X', 4 }, { '\0', 4 },          { 'D', 0 },           { 'D', FRAME_MAX + 1 },
                { 'Z', 7 }, { 'Z', G_MAXUINT32 }, { 'J', G_MAXUINT32 }, { (char)0xff, 1 } };

  for (guint i = 0; i < G_N_ELEMENTS (heads); i++) {
    g_autoptr (FrameSplitter) splitter = frame_splitter_new();
    g_autoptr (GByteArray) all = g_byte_array_new();
    g_autoptr (GError) error = NULL;
    Frame frame;
    add (all, heads[i].type, heads[i].len, NULL, 0);
    frame_splitter_add (splitter, all->data, all->len);
    g_assert_false (frame_splitter_next (splitter, &frame, &error));
    g_assert_error (error, CLI_ERROR, CLI_ERROR_FAILED);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/frame-splitter/any-cut", test_any_cut);
  g_test_add_func ("/frame-splitter/largest", test_largest);
  g_test_add_func ("/frame-splitter/garbled", test_garbled_heads);
  return g_test_run();
}
