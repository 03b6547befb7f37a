/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "buffer-pool.h"

#include <string.h>

#define SIZE 1000

/* What was given back is used again, and no more than that is kept. */
static void
test_again (void)
{
  g_autoptr (BufferPool) pool = buffer_pool_new (SIZE, 1);
  guint8 *one = buffer_pool_take (pool), *other = buffer_pool_take (pool);

  g_assert_true (one != other);
  memset (one, 1, SIZE);
  memset (other, 2, SIZE);
  buffer_pool_give (pool, one);
  buffer_pool_give (pool, other);
  buffer_pool_give (pool, NULL);
  guint8 *again = buffer_pool_take (pool);
  g_assert_true (again == one);
  g_assert_cmpuint (again[SIZE - 1], ==, 1);
  buffer_pool_give (pool, again);
}

/* What nobody uses can be had back, what is in use not. */
static void
test_trim (void)
{
  g_autoptr (BufferPool) pool = buffer_pool_new (SIZE, 2);
  guint8 *used = buffer_pool_take (pool);
  guint8 *unused = buffer_pool_take (pool);

  memset (used, 1, SIZE);
  buffer_pool_give (pool, unused);
  buffer_pool_trim (pool);
  buffer_pool_trim (pool);
  g_assert_cmpuint (used[0], ==, 1);
  buffer_pool_give (pool, used);
}

/* An array begins empty in a used buffer, may outgrow it, and gives it back. */
static void
test_array (void)
{
  g_autoptr (BufferPool) pool = buffer_pool_new (SIZE, 1);
  g_autofree guint8 *much = g_malloc0 (3 * SIZE);
  GByteArray *array = buffer_pool_take_array (pool);

  g_assert_cmpuint (array->len, ==, 0);
  g_byte_array_append (array, much, 3 * SIZE);
  const guint8 *grown = array->data;
  buffer_pool_give_array (pool, array);
  array = buffer_pool_take_array (pool);
  g_assert_true (array->data == grown);
  g_byte_array_append (array, much, SIZE);
  g_assert_true (array->data == grown);
  buffer_pool_give_array (pool, array);
  buffer_pool_give_array (pool, NULL);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/buffer-pool/again", test_again);
  g_test_add_func ("/buffer-pool/trim", test_trim);
  g_test_add_func ("/buffer-pool/array", test_array);
  return g_test_run();
}
