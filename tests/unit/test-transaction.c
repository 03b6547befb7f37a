/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Transactions as QEMU is told them, in its own words (qapi/transaction.json). */
#include "transaction.h"

#include <vmckpt/util/json.h>

/* What there is to be done, as text; takes it all. */
static char *
take (Transaction *transaction)
{
  g_autoptr (JsonObject) arguments = transaction_take (transaction);

  return json_to_line (arguments);
}

static void
test_actions_in_their_order (void)
{
  g_autoptr (Transaction) transaction = transaction_new();

  transaction_add_bitmap (transaction, "d0", "new", G_GUINT64_CONSTANT (1) << 31, TRUE);
  transaction_add_bitmap (transaction, "d0", "off", 65536, FALSE);
  transaction_merge_bitmap (transaction, "d0", "target", "source");
  transaction_clear_bitmap (transaction, "d1", "acc");
  transaction_remove_bitmap (transaction, "d1", "inc");
  g_autofree char *text = take (transaction);
  g_assert_cmpstr (
      text, ==,
      "{\"actions\":["
      "{\"type\":\"block-dirty-bitmap-add\",\"data\":{\"node\":\"d0\",\"name\":\"new\","
      "\"granularity\":2147483648,\"disabled\":false}},"
      "{\"type\":\"block-dirty-bitmap-add\",\"data\":{\"node\":\"d0\",\"name\":\"off\","
      "\"granularity\":65536,\"disabled\":true}},"
      "{\"type\":\"block-dirty-bitmap-merge\",\"data\":{\"node\":\"d0\",\"target\":\"target\","
      "\"bitmaps\":[\"source\"]}},"
      "{\"type\":\"block-dirty-bitmap-clear\",\"data\":{\"node\":\"d1\",\"name\":\"acc\"}},"
      "{\"type\":\"block-dirty-bitmap-remove\",\"data\":{\"node\":\"d1\",\"name\":\"inc\"}}]}");
}

/* What was taken is not done again with what follows. */
static void
test_taken_once (void)
{
  g_autoptr (Transaction) transaction = transaction_new();

  g_assert_true (transaction_is_empty (transaction));
  transaction_clear_bitmap (transaction, "d0", "acc");
  g_assert_false (transaction_is_empty (transaction));
  g_autofree char *first = take (transaction);
  g_assert_true (transaction_is_empty (transaction));
  g_autofree char *none = take (transaction);
  g_assert_cmpstr (none, ==, "{\"actions\":[]}");
  transaction_remove_bitmap (transaction, "d0", "inc");
  g_autofree char *second = take (transaction);
  g_assert_cmpstr (second, ==,
                   "{\"actions\":[{\"type\":\"block-dirty-bitmap-remove\",\"data\":"
                   "{\"node\":\"d0\",\"name\":\"inc\"}}]}");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/transaction/actions", test_actions_in_their_order);
  g_test_add_func ("/transaction/taken-once", test_taken_once);
  return g_test_run();
}
