export default { title: 'All objects' }
