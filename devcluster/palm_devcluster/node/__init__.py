"""A process node: runs the containers of each Pod as ordinary local processes.

It registers a Node, watches the Pods that the scheduler binds to it and reports what really
happened: exit codes, signals, logs, probes, restarts. It is a development tool, and it differs
from a kubelet where an ordinary user on one machine cannot do better:

- CPU is accounted by the scheduler and not isolated; memory limits are enforced by watching the
  process tree about once a second, so a fast allocation can pass the limit for a moment.
- Processes run as the user that runs the cluster; ``runAsNonRoot`` and the rest of the
  ``securityContext`` are not enforced. Only run Pods that you would run by hand.
- There is no mount namespace. Volumes are folders, and mount paths in commands, arguments,
  environment values and working directories are rewritten to them (see ``paths``); a path that is
  compiled into a program, or written inside a mounted file, is not.
- All Pods share the machine's network. Each has a loopback address of its own (``addresses``), and
  one that listens on every address takes its port from all others. A Service has no address that
  answers and no name: ``palm_devcluster.proxy`` offers all of them on one port.
- ``nvidia.com/gpu`` is a number that the scheduler counts; no device is handed to a container.

The path of a Pod: ``agent`` watches Pods and gives each a ``worker``; the worker observes its
``records`` on disk, asks ``decision`` what to do, does it, and writes what ``status`` computes.
A ``shim`` per container survives the agent, so an exit code is never lost.
"""
