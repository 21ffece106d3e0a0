"""The fields of a JobSet that we write, after the CRD of jobset.x-k8s.io/v1alpha2 and Kubernetes' Job and Pod.

A tuple (type, options) is a value; {field: ...} an object that takes these fields alone, '!' behind a name says it must be
there; [item] a list; Map values are texts.
"""

import re

NAME = (str, r'[a-z0-9]([-a-z0-9.]*[a-z0-9])?')
TEXT = (str, r'.*')
COUNT = (int, range(0, 2**31))


class Map:
    """Keys and values are texts, as labels and node selectors are."""


ENV = {'name!': (str, r'[A-Za-z_][\w.-]*'), 'value': TEXT}
CONTAINER = {
    'name!': NAME, 'image': TEXT, 'imagePullPolicy': (str, 'Always|IfNotPresent|Never'), 'command': [TEXT], 'args': [TEXT],
    'env': [ENV], 'ports': [{'containerPort!': (int, range(1, 65536)), 'name': NAME}],
    'securityContext': {'privileged': (bool,)},
    'resources': {'limits': {'google.com/tpu': COUNT}, 'requests': {'google.com/tpu': COUNT}},
    'volumeMounts': [{'name!': NAME, 'mountPath!': TEXT}],
}
POD = {
    'restartPolicy!': (str, 'Never|OnFailure'),     # a Job takes no Always
    'hostNetwork': (bool,), 'dnsPolicy': (str, 'ClusterFirstWithHostNet|ClusterFirst|Default|None'),
    'terminationGracePeriodSeconds': COUNT, 'nodeSelector': Map, 'serviceAccountName': NAME, 'priorityClassName': NAME,
    'tolerations': [{'key': TEXT, 'operator': (str, 'Exists|Equal'), 'value': TEXT,
                     'effect': (str, 'NoSchedule|PreferNoSchedule|NoExecute')}],
    'containers!': [CONTAINER],
    'volumes': [{'name!': NAME, 'emptyDir': {'medium': (str, 'Memory|'), 'sizeLimit': TEXT}}],
}
POD_FAILURE = {'rules!': [{
    'action!': (str, 'Count|FailIndex|FailJob|Ignore'),
    'onExitCodes': {'containerName': NAME, 'operator!': (str, 'In|NotIn'), 'values!': [(int, range(1, 256))]},
    'onPodConditions': [{'type!': TEXT, 'status!': (str, 'True|False|Unknown')}],
}]}
METADATA = {'labels': Map, 'annotations': Map, 'name': NAME, 'namespace': NAME}
JOB = {
    'parallelism': COUNT, 'completions': COUNT, 'completionMode': (str, 'Indexed|NonIndexed'), 'backoffLimit': COUNT,
    'activeDeadlineSeconds': COUNT, 'podFailurePolicy': POD_FAILURE, 'template!': {'metadata': METADATA, 'spec!': POD},
}
JOBSET = {
    'apiVersion!': (str, r'jobset\.x-k8s\.io/v1alpha2'), 'kind!': (str, 'JobSet'), 'metadata!': {**METADATA, 'name!': NAME},
    'spec!': {
        'ttlSecondsAfterFinished': COUNT, 'suspend': (bool,), 'managedBy': TEXT,
        'coordinator': {'replicatedJob!': NAME, 'jobIndex': COUNT, 'podIndex': COUNT},
        'network': {'enableDNSHostnames': (bool,), 'publishNotReadyAddresses': (bool,), 'subdomain': NAME},
        'failurePolicy': {
            'maxRestarts': COUNT, 'restartStrategy': (str, 'Recreate|BlockingRecreate'),
            'rules': [{
                'name!': (str, r'[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?'),
                'action!': (str, 'FailJobSet|RestartJobSet|RestartJobSetAndIgnoreMaxRestarts'),
                'onJobFailureReasons': [(str, 'BackoffLimitExceeded|DeadlineExceeded|FailedIndexes|MaxFailedIndexesExceeded|'
                                              'PodFailurePolicy')],
                'targetReplicatedJobs': [NAME],
            }],
        },
        'replicatedJobs!': [{'name!': NAME, 'replicas': COUNT, 'groupName': NAME,
                             'template!': {'metadata': METADATA, 'spec!': JOB}}],
    },
}


def faults(value, schema=JOBSET, path='') -> list[str]:
    """Everything that the schema refuses, unknown fields first of all; [] for a good manifest."""
    if schema is Map:
        return [] if isinstance(value, dict) and all(isinstance(text, str) for pair in value.items() for text in pair) else [
            f'{path}: {value!r} is no map of texts']
    if isinstance(schema, list):
        if not isinstance(value, list):
            return [f'{path}: {value!r} is no list']
        return [fault for index, item in enumerate(value) for fault in faults(item, schema[0], f'{path}[{index}]')]
    if isinstance(schema, tuple):
        kind, *allowed = schema
        if type(value) is not kind:
            return [f'{path}: {value!r} is no {kind.__name__}']
        if kind is str and not re.fullmatch(allowed[0], value, re.S) or kind is int and value not in allowed[0]:
            return [f'{path}: {value!r} is not allowed']
        return []
    if not isinstance(value, dict):
        return [f'{path}: {value!r} is no object']
    fields = {name.rstrip('!'): one for name, one in schema.items()}
    found = [f'{path}: there is no field {name}' for name in value if name not in fields]
    found += [f'{path}: {name[:-1]} is missing' for name in schema if name.endswith('!') and name[:-1] not in value]
    return found + [fault for name, one in value.items() if name in fields for fault in faults(one, fields[name], f'{path}.{name}')]
