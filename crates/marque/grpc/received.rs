//! Reading from a Unix socket with the kernel's word for who wrote each piece (`SCM_CREDENTIALS`, unix(7)).
//!
//! The kernel never joins the bytes of two processes in one read, so a piece has one writer. Room is made for the
//! credentials and for nothing else: descriptors that come along (`SCM_RIGHTS`) are dropped by the kernel and never become
//! ours; whoever sends them is no client of this socket.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd as _};
use std::task::{Context, Poll, ready};

use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, UnixCredentials, cmsg_space, recvmsg, setsockopt, sockopt,
};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// Has the kernel say who writes. Sockets that are accepted inherit it from their listener.
pub(crate) fn ask_for_senders(socket: &impl AsFd) -> io::Result<()> {
    Ok(setsockopt(socket, sockopt::PassCred, &true)?)
}

/// Why a piece is not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReceiveError {
    /// Another process than the pinned one wrote it; 0 for one that cannot be seen from here.
    #[error("process {sender} writes on the connection of process {pinned}")]
    OtherSender {
        /// Who connected.
        pinned: i32,
        /// Who wrote.
        sender: i32,
    },
    /// The message carries something besides bytes and credentials.
    #[error("process {pinned} sends descriptors")]
    Attachments {
        /// Who connected.
        pinned: i32,
    },
    /// The kernel's error.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// As much room as the credentials take. Aligned as a control message has to be.
#[repr(align(8))]
struct Control([u8; cmsg_space::<UnixCredentials>()]);

/// Reads what the process `pinned` wrote: how many bytes, and 0 at the end.
pub(super) fn poll_receive(
    stream: &UnixStream,
    pinned: i32,
    context: &mut Context<'_>,
    piece: &mut [u8],
) -> Poll<Result<usize, ReceiveError>> {
    loop {
        ready!(stream.poll_read_ready(context))?;
        let mut answer = Ok(0);
        // The readiness is given back only when the kernel has nothing more.
        let tried = stream.try_io(Interest::READABLE, || {
            answer = receive(stream, pinned, piece);
            match &answer {
                Err(ReceiveError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    Err(io::ErrorKind::WouldBlock.into())
                }
                _ => Ok(()),
            }
        });
        match tried {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Poll::Ready(Err(error.into())),
            Ok(()) => return Poll::Ready(answer),
        }
    }
}

fn receive(stream: &UnixStream, pinned: i32, piece: &mut [u8]) -> Result<usize, ReceiveError> {
    let mut control = Control([0; cmsg_space::<UnixCredentials>()]);
    let mut slices = [IoSliceMut::new(piece)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut slices, Some(&mut control.0), flags)
        .map_err(io::Error::from)?;
    if message.bytes == 0 {
        return Ok(0);
    }
    let Ok(attached) = message.cmsgs() else { return Err(ReceiveError::Attachments { pinned }) };
    let mut sender = 0;
    for one in attached {
        match one {
            ControlMessageOwned::ScmCredentials(credentials) => sender = credentials.pid(),
            _ => return Err(ReceiveError::Attachments { pinned }),
        }
    }
    if sender == pinned {
        Ok(message.bytes)
    } else {
        Err(ReceiveError::OtherSender { pinned, sender })
    }
}
