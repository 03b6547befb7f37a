/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "transaction.h"

struct _Transaction {
  JsonArray *actions;
};

Transaction *
transaction_new (void)
{
  Transaction *transaction = g_new0 (Transaction, 1);

  transaction->actions = json_array_new();
  return transaction;
}

void
transaction_free (Transaction *transaction)
{
  if (transaction == NULL)
    return;
  json_array_unref (transaction->actions);
  g_free (transaction);
}

/* Adds an action on bitmap @value, named by @member; the data, for more members. */
static JsonObject *
add (Transaction *transaction, const char *type, const char *node, const char *member,
     const char *value)
{
  JsonObject *action = json_object_new();
  JsonObject *data = json_object_new();

  json_object_set_string_member (data, "node", node);
  json_object_set_string_member (data, member, value);
  json_object_set_string_member (action, "type", type);
  json_object_set_object_member (action, "data", data);
  json_array_add_object_element (transaction->actions, action);
  return data;
}

void
transaction_add_bitmap (Transaction *transaction, const char *node, const char *name,
                        guint64 granularity, gboolean recording)
{
  JsonObject *data = add (transaction, "block-dirty-bitmap-add", node, "name", name);

  json_object_set_int_member (data, "granularity", granularity);
  json_object_set_boolean_member (data, "disabled", !recording);
}

void
transaction_merge_bitmap (Transaction *transaction, const char *node, const char *target,
                          const char *source)
{
  JsonObject *data = add (transaction, "block-dirty-bitmap-merge", node, "target", target);
  JsonArray *sources = json_array_new();

  json_array_add_string_element (sources, source);
  json_object_set_array_member (data, "bitmaps", sources);
}

void
transaction_clear_bitmap (Transaction *transaction, const char *node, const char *name)
{
  add (transaction, "block-dirty-bitmap-clear", node, "name", name);
}

void
transaction_remove_bitmap (Transaction *transaction, const char *node, const char *name)
{
  add (transaction, "block-dirty-bitmap-remove", node, "name", name);
}

gboolean
transaction_is_empty (const Transaction *transaction)
{
  return json_array_get_length (transaction->actions) == 0;
}

JsonObject *
transaction_take (Transaction *transaction)
{
  JsonObject *arguments = json_object_new();

  json_object_set_array_member (arguments, "actions", transaction->actions);
  transaction->actions = json_array_new();
  return arguments;
}
