#!/bin/busybox sh
# First process of the virtual machine: loads the modules, unpacks the payload from the first disk,
# runs its `run`, and tells qemu the exit status. Kernel command line: modules=<list>,<list> names
# lists of modules to load besides `base`.
export PATH=/bin:/sbin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmpfs /tmp
mkdir -p /dev/shm

extra=$(sed -n 's/.*modules=\([^ ]*\).*/\1/p' /proc/cmdline | tr , ' ')
for list in base $extra; do
    while read -r module; do
        # A module of an earlier list is there already; one of another processor's may be refused.
        insmod "/modules/$module" 2>/dev/null
    done <"/modules/$list.list"
done

# The second serial port is the payload's own: no kernel messages, no line editing.
stty -F /dev/ttyS1 raw -echo
mkdir /payload
tar -xf /dev/vda -C /payload
cd /payload
./run <"/dev/ttyS1" >"/dev/ttyS1" 2>&1
status=$?
# Let the port say all of it before the machine is gone.
sleep 0.1
sync
# isa-debug-exit: qemu ends with status * 2 + 1.
printf "\\$(printf %o "$status")" | dd of=/dev/port bs=1 seek=244 2>/dev/null
poweroff -f
