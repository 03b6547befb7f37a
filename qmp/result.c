/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "result.h"

typedef struct {
  GObject parent;
  QmpCall *call;
} QmpResult;

typedef struct {
  GObjectClass parent;
} QmpResultClass;

static gpointer
result_user_data (GAsyncResult *result)
{
  return ((QmpResult *)result)->call->user_data;
}

static GObject *
result_source_object (GAsyncResult *result)
{
  return NULL;
}

static void
result_interface_init (GAsyncResultIface *interface)
{
  interface->get_user_data = result_user_data;
  interface->get_source_object = result_source_object;
}

GType qmp_result_get_type (void);
G_DEFINE_TYPE_WITH_CODE (QmpResult, qmp_result, G_TYPE_OBJECT,
                         G_IMPLEMENT_INTERFACE (G_TYPE_ASYNC_RESULT, result_interface_init))

static void
qmp_result_finalize (GObject *object)
{
  g_clear_pointer (&((QmpResult *)object)->call, qmp_call_unref);
  G_OBJECT_CLASS (qmp_result_parent_class)->finalize (object);
}

static void
qmp_result_class_init (QmpResultClass *class)
{
  G_OBJECT_CLASS (class)->finalize = qmp_result_finalize;
}

static void
qmp_result_init (QmpResult *result)
{
}

void
qmp_result_deliver (QmpCall *call)
{
  g_autoptr (GObject) object = g_object_new (qmp_result_get_type(), NULL);

  ((QmpResult *)object)->call = qmp_call_ref (call);
  call->callback (NULL, G_ASYNC_RESULT (object), call->user_data);
}

JsonNode *
qmp_result_take (GAsyncResult *result, GError **error)
{
  QmpCall *call = ((QmpResult *)result)->call;

  if (call->error != NULL)
    g_propagate_error (error, g_steal_pointer (&call->error));
  return g_steal_pointer (&call->result);
}

void
qmp_result_ignore (GObject *source, GAsyncResult *result, gpointer user_data)
{
}
